"""Inference mode of torch, which a whole ComfyUI prompt runs under: leaving it, and cloning its tensors.

Tensors made in it may not enter autograd, not even later. So networks are built outside of it, optimising code leaves
it, and every tensor of another node is replaced by a normal one before it enters a graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels import sharing_cores


@contextlib.contextmanager
def enable_training() -> Iterator[None]:
    """Leave the inference mode that nodes run under, with gradients on, and share cores with other programs.

    Tensors that were made under it must go through `clone_from_inference` before it enters a graph.
    """
    with torch.inference_mode(False), torch.enable_grad(), sharing_cores():
        yield


@contextlib.contextmanager
def no_inference_mode() -> Iterator[None]:
    """Make normal tensors, without gradients: for loading networks that may be optimised later."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def clone_from_inference(value: Tensor | nn.Module) -> Any:
    """Replace inference tensors by normal ones, which autograd accepts.

    Args:
        value: a tensor (a normal one is returned as it is), or a module, whose parameters and buffers are replaced in
            place; tensors shared between submodules stay shared, and `requires_grad` is kept.

    Returns:
        The normal tensor, or the same module.
    """
    with no_inference_mode():
        if isinstance(value, Tensor):
            return value.clone() if value.is_inference() else value
        clones: dict[int, Tensor] = {}
        for module in value.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and parameter.is_inference():
                    clone = nn.Parameter(parameter.clone(), parameter.requires_grad)
                    module._parameters[name] = clones.setdefault(id(parameter), clone)
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_inference():
                    module._buffers[name] = clones.setdefault(id(buffer), buffer.clone())
        return value
