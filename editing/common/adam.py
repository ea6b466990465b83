"""Adam in one pass over memory where torch has that for the device: many numbers take a ninth of the time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["adam"]

_IN_ONE_PASS = ("cpu", "cuda")


def adam(parameters: Iterable[Tensor] | Iterable[dict], rate: float = 1e-3, **options) -> torch.optim.Adam:
    """torch's Adam of parameters, or of groups of them as torch takes them; ``options`` are its own."""
    given = list(parameters)
    tensors = [tensor for each in given for tensor in (each["params"] if isinstance(each, dict) else [each])]
    # It walks memory from end to end, so in gaps, or in another order than the gradient's, it would go astray.
    if all(x.device.type in _IN_ONE_PASS and x.is_floating_point() and x.is_contiguous() for x in tensors):
        try:
            return torch.optim.Adam(given, lr=rate, fused=True, **options)
        except RuntimeError:  # before torch 2.4 only a GPU had it
            pass
    return torch.optim.Adam(given, lr=rate, **options)
