"""How much memory a step needs, measured before the work starts instead of guessed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ....models.errors import InputError
from .checkpointing import Blocks

__all__ = ["fitting_draws", "graph_bytes", "megabytes"]

_MARGIN = 1.15  # what allocators lose to fragments
_ADAM = 16  # bytes per float32 parameter: the parameter, its gradient and two moments


def graph_bytes(forward: Callable[[], object], weights: set[int], blocks: Blocks | None = None) -> int:
    """Bytes that a backward pass through ``forward`` keeps, found by making that graph once.

    Args:
        forward: makes the loss of one draw.
        weights: addresses of storages that are there anyway.
        blocks: of a checkpointed network: while one block is computed again, its graph is there besides.
    """
    largest = 0

    def measure(block: Callable[[], object]) -> None:
        nonlocal largest
        largest = max(largest, graph_bytes(block, weights))

    if blocks is not None:
        blocks.measure = measure
        try:
            return graph_bytes(forward, weights) + largest
        finally:
            blocks.measure = None
    seen: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        # Not the tensor itself: an operation that keeps its own result would hold itself, and never be freed.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        forward()
    return sum(seen.values())


def fitting_draws(
    draws: int, per_draw: int, trained: int, free: int | None, what: str, advice: str = "Use a smaller picture."
) -> int:
    """How many noise draws fit at once.

    Args:
        draws: draws per step.
        per_draw: bytes of one draw's graph.
        trained: parameters that are optimised.
        free: bytes available, None when unknown.
        what: names the work.
        advice: what a person can do about it.

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
            f"free. {advice}"
        )
    return min(draws, at_once)


def megabytes(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
