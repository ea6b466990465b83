"""Gradient checkpointing (1604.06174) of any network: blocks keep their inputs and are recomputed on the way back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import nn
from torch.utils.checkpoint import checkpoint

from .out_of_place import OutOfPlace

__all__ = ["CheckpointedBlocks", "checkpointed"]


class CheckpointedBlocks:
    """The blocks of a network that is being checkpointed.

    While ``measure`` is set, each block is given to it before it runs, so that the largest one's graph is known.
    """

    def __init__(self) -> None:
        self.measure: Callable[[Callable[[], object]], None] | None = None


@contextlib.contextmanager
def checkpointed(network: nn.Module, on: bool = True) -> Iterator[CheckpointedBlocks]:
    """Checkpoint the network's blocks while inside.

    A block is the largest module that holds no list of modules: hosts walk through lists without calling them.
    Blocks are computed again outside of the network's own call, and on another thread, so that each guards itself
    against values that it overwrites.
    """
    state = CheckpointedBlocks()
    blocks = [block for block in _blocks(network) if "forward" not in block.__dict__] if on else []
    try:
        for block in blocks:
            # An attribute of the instance, which hides the class's method.
            block.forward = _checkpointed_forward(block.forward, state)
        yield state
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _checkpointed_forward(forward, state: CheckpointedBlocks):
    def guarded_forward(*args, **kwargs):
        with OutOfPlace():
            return forward(*args, **kwargs)

    def run(*args, **kwargs):
        if state.measure is not None:
            state.measure(lambda: guarded_forward(*args, **kwargs))
        return checkpoint(guarded_forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        lists = [list_ for list_ in child.children() if isinstance(list_, nn.ModuleList | nn.ModuleDict) and len(list_)]
        if lists or isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from _blocks(child)
        elif any(True for _ in child.parameters()) and len(list(child.children())):
            yield child
