"""How much memory a step needs, measured before the work starts instead of guessed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...models.errors import InputError

__all__ = ["fitting_draws", "graph_bytes", "megabytes"]

_MARGIN = 1.15  # what allocators lose to fragments
_ADAM = 16  # bytes per float32 parameter: the parameter, its gradient and two moments


def graph_bytes(forward: Callable[[], Tensor], weights: set[int]) -> int:
    """Bytes that a backward pass through ``forward`` keeps, found by making that graph once.

    Args:
        forward: makes the loss of one draw.
        weights: addresses of storages that are there anyway.
    """
    seen: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        forward()
    return sum(seen.values())


def fitting_draws(draws: int, per_draw: int, trained: int, free: int | None, what: str) -> int:
    """How many noise draws fit at once.

    Args:
        draws: draws per step.
        per_draw: bytes of one draw's graph.
        trained: parameters that are optimised.
        free: bytes available, None when unknown.
        what: names the work.

    Raises:
        InputError: not even one draw fits; the sentence gives the numbers.
    """
    if free is None:
        return draws
    left = free - trained * _ADAM
    at_once = int(left / max(per_draw * _MARGIN, 1))
    if at_once < 1:
        needed = trained * _ADAM + per_draw * _MARGIN
        raise InputError(
            f"{what} needs about {megabytes(needed)} beside the model ({megabytes(trained * _ADAM)} for "
            f"{trained:,} trained numbers, {megabytes(per_draw * _MARGIN)} for one step), and {megabytes(free)} are "
            "free. Turn on gradient checkpointing, choose fewer blocks or a smaller rank, or use a smaller picture."
        )
    return min(draws, at_once)


def megabytes(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
