"""Gradients through networks that write ``x += y``, which overwrites what the way back needs.

Some of the networks that hosts run were written for sampling alone. While one of them learns, an augmented assignment
makes a new tensor instead; the name is bound to it, so that nothing else changes. A method call such as ``x.add_(y)``
is left as it is: there the name would keep the old tensor.
"""

from __future__ import annotations

import contextlib
import dis
import sys
from collections.abc import Iterator
from types import FrameType

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["OutOfPlace", "out_of_place"]

_INSTEAD = {
    torch.Tensor.add_: torch.add,
    torch.Tensor.sub_: torch.sub,
    torch.Tensor.mul_: torch.mul,
    torch.Tensor.div_: torch.div,
}
_FIRST_INPLACE = 13  # of BINARY_OP's arguments, from Python 3.11 on


class OutOfPlace(TorchFunctionMode):
    """Turns augmented assignments into new tensors while inside."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        instead = _INSTEAD.get(func)
        if instead is not None and torch.is_grad_enabled() and _assigns(sys._getframe(1)):
            return instead(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def out_of_place(network: nn.Module, on: bool = True) -> Iterator[None]:
    """The network with its augmented assignments made harmless while inside."""
    if not on or "forward" in network.__dict__:
        yield
        return
    forward = network.forward

    def run(*args, **kwargs):
        with OutOfPlace():
            return forward(*args, **kwargs)

    network.forward = run  # an attribute of the instance, which hides the class's method
    try:
        yield
    finally:
        network.__dict__.pop("forward", None)


def _assigns(frame: FrameType) -> bool:
    """Whether the instruction that a frame is at is an augmented assignment."""
    code, place = frame.f_code.co_code, frame.f_lasti
    name = dis.opname[code[place]]
    return name.startswith("INPLACE_") or (name == "BINARY_OP" and code[place + 1] >= _FIRST_INPLACE)
