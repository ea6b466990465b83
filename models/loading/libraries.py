"""diffusers and transformers, imported when they are needed and not before."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import InputError
from .torchvision_stubs import declare_where_allowed


def import_diffusers() -> ModuleType:
    """The diffusers package. Raises InputError, saying how to get it, when it is missing or does not work."""
    return _imported("diffusers")


def import_transformers() -> ModuleType:
    """The transformers package; the errors of ``import_diffusers``."""
    return _imported("transformers")


def _imported(name: str) -> ModuleType:
    declare_where_allowed()  # both look at torchvision, which does not import beside every torch
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"A diffusion model outside ComfyUI needs the package {name}, which could not be imported ({error}). "
            f"Install it with `pip install diffusers transformers`."
        ) from error
