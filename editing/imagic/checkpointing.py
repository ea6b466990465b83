"""Gradient checkpointing of any network: blocks keep their input alone and are computed again on the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.utils.checkpoint import checkpoint

from .inplace import OutOfPlace

__all__ = ["checkpointed"]


@contextlib.contextmanager
def checkpointed(network: nn.Module, on: bool = True, copying: bool = False) -> Iterator[None]:
    """The network with its blocks checkpointed while inside.

    ``copying``: for networks that overwrite what they need; blocks are computed again outside of the network's own
    call, and on another thread.

    A block is the largest module that is more than a container: those a host may walk through without calling.
    """
    blocks = [block for block in _blocks(network) if "forward" not in block.__dict__] if on else []
    try:
        for block in blocks:
            block.forward = _recomputed(
                block.forward, copying
            )  # an attribute of the instance, which hides the class's method
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _recomputed(forward, copying):
    def guarded(*args, **kwargs):
        with OutOfPlace() if copying else contextlib.nullcontext():
            return forward(*args, **kwargs)

    def run(*args, **kwargs):
        return checkpoint(guarded, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from _blocks(child)
        elif any(True for _ in child.parameters()) and len(list(child.children())):
            yield child
