"""The host: the one place that knows whether ComfyUI or the command line runs the nodes.

Nodes ask this package for devices, progress, folders and memory, and never care who answers. Whoever starts the pack
chooses the host once, explicitly: the root ``__init__`` calls `use_comfyui`, the command line and the tests call
`headless.use_headless`. `io` and `ui` of the node interface come from the chosen host: ``from ..host import io, ui``.
"""

from __future__ import annotations

from typing import Any

from ..models.inference import clone_from_inference, enable_training, no_inference_mode
from .comfyui import ComfyHost, preview_picture
from .diffusion import DiffusionBackend
from .files import MODEL_SUFFIX, file_below, folders_below, is_text, safe_name
from .interface import KINDS, PACK, Host

__all__ = [
    "KINDS",
    "MODEL_SUFFIX",
    "PACK",
    "DiffusionBackend",
    "Host",
    "clone_from_inference",
    "current",
    "enable_training",
    "file_below",
    "folders_below",
    "is_text",
    "no_inference_mode",
    "preview_picture",
    "safe_name",
    "use",
    "use_comfyui",
]

_current: Host | None = None


def use(host: Host) -> Host:
    """Choose the host that answers from now on, and return it."""
    global _current
    _current = host
    return host


def use_comfyui() -> Host:
    """Choose ComfyUI, and register the pack's model folders. Only inside a running ComfyUI."""
    return use(ComfyHost())


def current() -> Host:
    """Return the chosen host.

    Raises:
        RuntimeError: when nobody has chosen yet.
    """
    if _current is None:
        raise RuntimeError("No host is chosen: call semantic_edit.headless.use_headless() before importing nodes.")
    return _current


def __getattr__(name: str) -> Any:
    if name in ("io", "ui"):
        return getattr(current(), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
