"""What each component of W changes in a picture, place by place: all that a drag has to know before its first step.

It depends on the picture alone, and not on points or regions, so it is measured once and kept while points are moved.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Changes", "ChangeMemory", "measured_changes"]

_CELLS = 32  # at most, along a side
_TOGETHER = 8  # components that are tried at once
_HELD = 2**28  # values of trial features that are held at once, 1 GB
_TRIAL = 0.5  # standard deviations by which each component is tried


@dataclass(frozen=True, eq=False)
class Changes:
    """``grams`` [rows, columns, K, K]: products of the changes by K components, summed over a cell of the features.

    Changes are in standard deviations of their channel, for a step of one standard deviation of W.
    """

    grams: Tensor

    def stiffness(self, weight: Tensor) -> Tensor:
        """[K, K]: the products summed over the picture, each place weighted by ``weight`` [1, 1, h, w].

        A cell takes the mean of its weights; where maps are of up to 32 x 32 features a cell is one of them.
        """
        cells = F.adaptive_avg_pool2d(weight, tuple(self.grams.shape[:2]))[0, 0]
        return (cells.to(self.grams)[:, :, None, None] * self.grams).sum(dim=(0, 1))


@dataclass(eq=False)
class ChangeMemory:
    """The changes of one code, as they were measured last."""

    _key: tuple | None = None
    _network: weakref.ref | None = None
    _changes: Changes | None = field(default=None, repr=False)

    def changes(self, network, layer: int, rows: tuple[int, ...], measure: Callable[[], Changes]) -> Changes:
        """Those of a network, a layer and rows of W+; measured where others, or none, are known."""
        if self._changes is None or self._network() is not network or self._key != (layer, rows):
            self._changes = measure()
            self._network, self._key = weakref.ref(network), (layer, rows)
        return self._changes


def measured_changes(
    look: Callable[[Tensor], Tensor],  # components [n, K] in standard deviations -> features [n, C, h, w]
    first: Tensor,  # [1, C, h, w], the features without any
    spread: Tensor,  # [1, C, 1, 1], their standard deviations
    count: int,  # K
    pulse: Callable[[], None],  # called between looks; may raise
) -> Changes:
    """Try every component, and multiply all changes with one another.

    A row of cells at a time, or several: where the trials' features do not fit into memory together (half the height of
    a picture of 1024 px), they are drawn again for each stretch.
    """
    channels, height, width = first.shape[1:]
    side = 1
    while max(height, width) // side > _CELLS and not height % (2 * side) and not width % (2 * side):
        side *= 2
    down, across = height // side, width // side
    stretch = min(down, max(1, _HELD // (count * channels * side * width)))
    together = max(1, min(_TOGETHER, _HELD // 4 // first.numel()))
    trials = _TRIAL * torch.eye(count).to(first)
    grams = []
    with torch.no_grad():
        for begin in range(0, down, stretch):
            end = min(begin + stretch, down)
            rows = slice(begin * side, end * side)
            cells = first.new_empty(end - begin, across, count, channels, side, side)
            for tried in torch.arange(count).split(together):
                pulse()
                change = (look(trials[tried])[:, :, rows] - first[:, :, rows]) / (spread * _TRIAL)
                change = change.reshape(len(tried), channels, -1, side, across, side)
                cells[:, :, tried] = change.permute(2, 4, 0, 1, 3, 5)
            values = cells.flatten(3)
            grams.append(values @ values.transpose(2, 3))
    return Changes(torch.cat(grams))
