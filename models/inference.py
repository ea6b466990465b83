"""In and out of torch's inference mode, which a whole ComfyUI prompt runs under.

Tensors made there may not enter autograd, not even later. So networks are built outside of it, optimising code leaves
it, and whatever another node made is replaced by a normal tensor before it enters a graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def enable_training() -> Iterator[None]:
    """Leave the inference mode that nodes run under, with gradients on.

    What was made under it must go through `clone_from_inference` before it enters a graph.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextlib.contextmanager
def no_inference_mode() -> Iterator[None]:
    """Make normal tensors, without gradients: for loading networks that may be optimised later."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def clone_from_inference(thing: Tensor | nn.Module) -> Any:
    """Replace inference tensors by normal ones, which autograd accepts.

    Args:
        thing: a tensor (a normal one is returned as it is), or a module, whose parameters and buffers are replaced in
            place; tensors shared between submodules stay shared, and `requires_grad` is kept.

    Returns:
        The normal tensor, or the same module.
    """
    with no_inference_mode():
        if isinstance(thing, Tensor):
            return thing.clone() if thing.is_inference() else thing
        moved: dict[int, Tensor] = {}
        for module in thing.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and parameter.is_inference():
                    fresh = moved.setdefault(id(parameter), nn.Parameter(parameter.clone(), parameter.requires_grad))
                    module._parameters[name] = fresh
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_inference():
                    module._buffers[name] = moved.setdefault(id(buffer), buffer.clone())
        return thing
