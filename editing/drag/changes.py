"""Gram matrices of feature changes: what every component of W changes, cell by cell, before a drag's first step.

They depend on the picture alone, and not on points or regions, so they are measured once and kept while points move.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

__all__ = ["ChangeGrams", "ChangeMemory", "measure_changes"]

_CELLS = 32  # at most, along a side
_TOGETHER = 8  # components that are tried at once
_HELD = 2**28  # values of trial features that are held at once, 1 GB
_TRIAL = 0.5  # standard deviations by which each component is tried


@dataclass(frozen=True, eq=False)
class ChangeGrams:
    """Products of the changes by K components, summed over each cell of the feature map.

    Changes are in standard deviations of their channel, for a step of one standard deviation of W.

    Args:
        grams: [rows, columns, K, K].
    """

    grams: Tensor

    def stiffness(self, weight: Tensor) -> Tensor:
        """Sum the products over the picture, weighted.

        A cell takes the mean of its weights; where maps are of up to 32 x 32 features a cell is one of them.

        Args:
            weight: [1, 1, h, w], of each position of the feature map.

        Returns:
            [K, K].
        """
        cells = F.adaptive_avg_pool2d(weight, tuple(self.grams.shape[:2]))[0, 0]
        return (cells.to(self.grams)[:, :, None, None] * self.grams).sum(dim=(0, 1))


@dataclass(eq=False)
class ChangeMemory:
    """A cache of one entry: the changes of one code, as they were measured last."""

    _key: tuple | None = None
    _network: weakref.ref | None = None
    _changes: ChangeGrams | None = field(default=None, repr=False)

    def changes(
        self,
        network: nn.Module,
        layer: int,
        rows: tuple[int, ...],  # of W+
        measure: Callable[[], ChangeGrams],
    ) -> ChangeGrams:
        """Return the changes of a network, a layer and rows; measure them where others, or none, are cached."""
        if self._changes is None or self._network() is not network or self._key != (layer, rows):
            self._changes = measure()
            self._network, self._key = weakref.ref(network), (layer, rows)
        return self._changes


def measure_changes(
    features_at: Callable[[Tensor], Tensor],  # components [n, K] in standard deviations -> features [n, C, h, w]
    reference: Tensor,  # [1, C, h, w], the features without any
    spread: Tensor,  # [1, C, 1, 1], their standard deviations
    count: int,  # K
    on_trial: Callable[[], None],  # called before each batch of trials; may raise to stop
) -> ChangeGrams:
    """Try every component, and multiply all changes with one another.

    A row of cells at a time, or several: where the trials' features do not fit into memory together (half the height of
    a picture of 1024 px), they are drawn again for each band of rows.
    """
    channels, height, width = reference.shape[1:]
    cell = _cell_size(height, width)
    rows, columns = height // cell, width // cell
    band = min(rows, max(1, _HELD // (count * channels * cell * width)))
    batch = max(1, min(_TOGETHER, _HELD // 4 // reference.numel()))
    trials = _TRIAL * torch.eye(count).to(reference)
    grams = []
    with torch.no_grad():
        for first_row in range(0, rows, band):
            last_row = min(first_row + band, rows)
            pixels = slice(first_row * cell, last_row * cell)
            cells = reference.new_empty(last_row - first_row, columns, count, channels, cell, cell)
            for components in torch.arange(count).split(batch):
                on_trial()
                features = features_at(trials[components])
                change = (features[:, :, pixels] - reference[:, :, pixels]) / (spread * _TRIAL)
                cells[:, :, components] = rearrange(
                    change, "n c (row y) (column x) -> row column n c y x", y=cell, x=cell
                )
            values = rearrange(cells, "row column k c y x -> row column k (c y x)")
            grams.append(values @ values.transpose(2, 3))
    return ChangeGrams(torch.cat(grams))


def _cell_size(height: int, width: int) -> int:
    """Pixels along a cell's side: the smallest power of two that gives few cells, where both sides allow it."""
    size = 1
    while max(height, width) // size > _CELLS and not height % (2 * size) and not width % (2 * size):
        size *= 2
    return size
