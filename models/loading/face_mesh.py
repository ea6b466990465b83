"""Lazy import of MediaPipe's face mesh (Kartynnik et al., 1907.06724), for users who have the package."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import InputError

__all__ = ["import_face_mesh"]


def import_face_mesh() -> ModuleType:
    """Import the module of `FaceMesh`, whose networks are in the package itself.

    Raises:
        InputError: says how to get the package, when it is missing, does not work, or comes without the mesh.
    """
    try:
        return importlib.import_module("mediapipe").solutions.face_mesh
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"Reading faces outside of ComfyUI needs the package mediapipe with its face mesh, which could not be "
            f"imported ({error}). Install it with `pip install mediapipe==0.10.14`, in an environment of its own where "
            "other packages need a newer numpy; inside ComfyUI use its own face detector."
        ) from error
