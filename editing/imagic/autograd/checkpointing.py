"""Gradient checkpointing of any network: blocks keep their input alone and are computed again on the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import nn
from torch.utils.checkpoint import checkpoint

from .out_of_place import OutOfPlace

__all__ = ["Blocks", "checkpointed"]


class Blocks:
    """What is known of the checkpointed blocks.

    While ``measure`` is set, each block is run once more than needed and given to it; so the largest one is found.
    """

    def __init__(self) -> None:
        self.measure: Callable[[Callable[[], object]], None] | None = None


@contextlib.contextmanager
def checkpointed(network: nn.Module, on: bool = True) -> Iterator[Blocks]:
    """The network with its blocks checkpointed while inside.

    A block is the largest module that holds no list of modules: hosts walk through lists without calling them.
    Blocks are computed again outside of the network's own call, and on another thread, so that each guards itself
    against values that it overwrites.
    """
    known = Blocks()
    blocks = [block for block in _blocks(network) if "forward" not in block.__dict__] if on else []
    try:
        for block in blocks:
            # An attribute of the instance, which hides the class's method.
            block.forward = _recomputed(block.forward, known)
        yield known
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _recomputed(forward, known: Blocks):
    def guarded(*args, **kwargs):
        with OutOfPlace():
            return forward(*args, **kwargs)

    def run(*args, **kwargs):
        if known.measure is not None:
            known.measure(lambda: guarded(*args, **kwargs))
        return checkpoint(guarded, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        lists = [part for part in child.children() if isinstance(part, nn.ModuleList | nn.ModuleDict) and len(part)]
        if lists or isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from _blocks(child)
        elif any(True for _ in child.parameters()) and len(list(child.children())):
            yield child
