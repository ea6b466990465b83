"""Make torchvision's import work beside a torch that has none of its compiled operators.

The torchvision on the package index is built for CUDA builds of torch; beside a CPU wheel its import fails because two
operators, which we never call, have no declaration. Declaring them lets open_clip be imported. This changes torch's
own registry, so it is for our command line and training scripts alone: inside ComfyUI the user's installation stays
as it is.
"""

from __future__ import annotations

import importlib
import sys

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_kept: list[torch.library.Library] = []  # a declaration lasts as long as its library object


def declare_missing_operators() -> None:
    """Nothing when torchvision is absent or imports as it is; else declare what it misses."""
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name, schema in _SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, name):
                library.define(schema)
        _kept.append(library)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # what the failed import left behind
