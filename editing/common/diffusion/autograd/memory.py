"""The memory of a training step, measured before the work starts instead of guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .....models.errors import InputError
from .checkpointing import CheckpointedBlocks

__all__ = [
    "MemoryShortError",
    "draws_at_once",
    "graph_bytes",
    "megabytes",
    "memory_sentence",
    "storage_addresses",
    "weight_storages",
]

_FRAGMENTATION = 1.15  # what allocators lose to fragments
_ADAM_BYTES = 16  # per float32 parameter: the parameter, its gradient and two moments
_AVERAGE_BYTES = 4  # per parameter of a moving average


class MemoryShortError(InputError):
    """Not even one noise draw fits into the memory."""


def graph_bytes(forward: Callable[[], object], weights: set[int], blocks: CheckpointedBlocks | None = None) -> int:
    """Return the bytes that a backward pass through ``forward`` keeps, found by making that graph once.

    Args:
        forward: makes the loss of one draw.
        weights: addresses of storages that are there anyway.
        blocks: of a checkpointed network: while one block is computed again, its graph is there besides.
    """
    if blocks is None:
        return _saved_bytes(forward, weights)
    largest = 0

    def measure(block: Callable[[], object]) -> None:
        nonlocal largest
        largest = max(largest, _saved_bytes(block, weights))

    blocks.measure = measure
    try:
        return _saved_bytes(forward, weights) + largest
    finally:
        blocks.measure = None


def _saved_bytes(forward: Callable[[], object], weights: set[int]) -> int:
    sizes: dict[int, int] = {}  # by address

    def count(tensor: Tensor) -> Tensor:
        for storage in _storages(tensor):
            if storage.data_ptr() not in weights:
                sizes[storage.data_ptr()] = storage.nbytes()
        # Not the tensor itself: an operation that keeps its own result would hold itself, and never be freed.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        forward()
    return sum(sizes.values())


def storage_addresses(tensors: Iterable[Tensor]) -> set[int]:
    """Return the addresses of the memory that tensors of any shape lie in."""
    return {storage.data_ptr() for tensor in tensors for storage in _storages(tensor)}


def _storages(tensor: Tensor) -> Iterator[torch.UntypedStorage]:
    """Yield the memory of a tensor; a quantised one is a wrapper around several plain tensors."""
    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from _storages(getattr(tensor, name))
    else:
        yield tensor.untyped_storage()


def weight_storages(network: nn.Module) -> set[int]:
    """Return the addresses of the network's own memory."""
    return storage_addresses([*network.parameters(), *network.buffers()])


def draws_at_once(
    draws: int,
    per_draw: int,
    trained: int,
    free: int | None,
    work: str,
    advice: str = "Use a smaller picture.",
    averaged: bool = False,
) -> int:
    """Return how many noise draws fit into the memory at once.

    Args:
        draws: draws per step.
        per_draw: bytes of one draw's graph.
        trained: parameters that are optimised.
        free: bytes available, None when unknown.
        work: names the work, for the message.
        advice: what a person can do about it.
        averaged: a moving average of the parameters is there besides.

    Raises:
        MemoryShortError: when not even one draw fits; the sentence gives the numbers.
    """
    if free is None:
        return draws
    optimizer_bytes, draw_bytes = _trained_bytes(trained, averaged), per_draw * _FRAGMENTATION
    count = int((free - optimizer_bytes) / max(draw_bytes, 1))
    if count < 1:
        raise MemoryShortError(
            f"{work} needs about {megabytes(optimizer_bytes + draw_bytes)} beside the model "
            f"({megabytes(optimizer_bytes)} for {trained:,} trained numbers, {megabytes(draw_bytes)} for one step), "
            f"and {megabytes(free)} are free. {advice}"
        )
    return min(draws, count)


def memory_sentence(work: str, per_draw: int, trained: int, free: int | None, averaged: bool = False) -> str:
    """Say before the work starts what it will take; see `draws_at_once` for the numbers."""
    need = f"{megabytes(_trained_bytes(trained, averaged))} for {trained:,} trained numbers"
    free_text = "" if free is None else f"; {megabytes(free)} are free"
    return f"{work} takes {need} and {megabytes(per_draw * _FRAGMENTATION)} per noise draw beside the model{free_text}."


def _trained_bytes(trained: int, averaged: bool) -> int:
    return trained * (_ADAM_BYTES + (_AVERAGE_BYTES if averaged else 0))


def megabytes(count: float) -> str:
    """Write bytes for people: "512 MB", "1.5 GB"."""
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"
