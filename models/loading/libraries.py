"""Lazy imports of diffusers and transformers."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import InputError
from .torchvision_stubs import declare_where_allowed


def import_diffusers() -> ModuleType:
    """Import diffusers.

    Raises:
        InputError: says how to get the package, when it is missing or does not work.
    """
    return _import_package("diffusers")


def import_transformers() -> ModuleType:
    """Import transformers.

    Raises:
        InputError: as ``import_diffusers``.
    """
    return _import_package("transformers")


def _import_package(name: str) -> ModuleType:
    declare_where_allowed()  # both look at torchvision, which does not import beside every torch
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"A diffusion model outside ComfyUI needs the package {name}, which could not be imported ({error}). "
            f"Install it with `pip install diffusers transformers`."
        ) from error
