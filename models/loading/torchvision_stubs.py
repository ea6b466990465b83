"""Stubs of torchvision's operators, so that it imports beside a torch that has none of the compiled ones.

The torchvision on the package index is built for CUDA builds of torch; beside a CPU wheel its import fails because two
operators, which we never call, have no declaration. Declaring them lets open_clip be imported. This changes torch's
own registry, so it happens only where the program is not ComfyUI (the command line, training, `load_diffusion`), which
say so by `allow_declaring`: inside ComfyUI the user's installation stays as it is.
"""

from __future__ import annotations

import importlib
import sys

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # a declaration lasts as long as its library object
_allowed: list[bool] = []


def allow_declaring() -> None:
    """Allow stubs in this process, which is ours, for when they are needed."""
    _allowed.append(True)


def declare_where_allowed() -> None:
    """Declare the operators that torchvision lacks, unless it is absent, imports already, or stubs are not allowed."""
    if not _allowed:
        return
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name, schema in _SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, name):
                library.define(schema)
        _libraries.append(library)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what the failed import left behind
