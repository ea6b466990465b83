"""Gradient checkpointing of any network: blocks keep their input alone and are computed again on the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["checkpointed"]


@contextlib.contextmanager
def checkpointed(network: nn.Module, on: bool = True) -> Iterator[None]:
    """The network with its blocks checkpointed while inside.

    A block is the largest module that is more than a container: those a host may walk through without calling.
    """
    blocks = [block for block in _blocks(network) if "forward" not in block.__dict__] if on else []
    try:
        for block in blocks:
            block.forward = _recomputed(block.forward)  # an attribute of the instance, which hides the class's method
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _recomputed(forward):
    def run(*args, **kwargs):
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from _blocks(child)
        elif any(True for _ in child.parameters()) and len(list(child.children())):
            yield child
