"""A part of a picture that a synthesis draws alone: convolutions see their neighbours, not the whole picture.

What a stroke changes at one layer reaches a few cells further with each layer after it, and no more. So a run that goes
on from a part of a layer's features gives the same values as a run of the whole, but for `reach` cells along those
sides at which the part was cut out, where zeros stand in for the neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import InputError

__all__ = ["Window", "marked", "part_of", "reach"]


@dataclass(frozen=True)
class Window:
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of a layer, the last ones excluded.

    ``height`` and ``width`` are the whole layer's. Layers of other sizes have the same part, in their own cells.

    Raises:
        InputError: a part that is empty or lies outside.
    """

    top: int
    bottom: int
    left: int
    right: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom <= self.height and 0 <= self.left < self.right <= self.width):
            raise InputError(
                f"Rows {self.top} to {self.bottom} and columns {self.left} to {self.right} are no part of a layer of "
                f"{self.height} x {self.width}."
            )

    @property
    def share(self) -> float:
        """Of the whole's area, 0..1."""
        return (self.bottom - self.top) * (self.right - self.left) / (self.height * self.width)

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, bottom, left, right in cells of a layer of ``height`` x ``width``.

        Raises InputError where an edge would lie within a cell.
        """
        rows = [row * height for row in (self.top, self.bottom)]
        columns = [column * width for column in (self.left, self.right)]
        if any(row % self.height for row in rows) or any(column % self.width for column in columns):
            raise InputError(f"{self} has no whole cells in a layer of {height} x {width}.")
        return (rows[0] // self.height, rows[1] // self.height, columns[0] // self.width, columns[1] // self.width)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of this part of a layer of ``height`` x ``width``."""
        top, bottom, left, right = self.box(height, width)
        return bottom - top, right - left

    def whole(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the layer whose part is ``height`` x ``width``."""
        return self.height * height // (self.bottom - self.top), self.width * width // (self.right - self.left)

    def grown(self, margin: int, step: int = 1) -> Window:
        """With ``margin`` more cells on each side, as far as there are any; edges lie on multiples of ``step``."""
        top, left = (max(0, edge - margin) // step * step for edge in (self.top, self.left))
        bottom, right = (-(-(edge + margin) // step) * step for edge in (self.bottom, self.right))
        return Window(top, min(bottom, self.height), left, min(right, self.width), self.height, self.width)

    def of(self, x: Tensor) -> Tensor:
        """[..., h, w] of the whole -> this part of it, a view."""
        top, bottom, left, right = self.box(*x.shape[-2:])
        return x[..., top:bottom, left:right]


def part_of(x: Tensor, window: Window | None) -> Tensor:
    """[..., h, w] of the whole -> the part that is drawn; all of it without a window."""
    return x if window is None else window.of(x)


def marked(mask: Tensor) -> Window | None:
    """The smallest part of a mask [B, 1, h, w] that holds all that is above 0 in any of them; None for zeros."""
    above = (mask > 0).any(dim=0)[0]
    rows, columns = (above.any(dim=dim).nonzero().flatten().tolist() for dim in (1, 0))
    return Window(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1, *above.shape) if rows else None


def reach(synthesis, layer: int) -> int:
    """Cells of ``layer``, rounded up: how far at most one of its values is felt in the finished picture.

    ``synthesis`` is a StyleGAN2's or a Progressive GAN's; the picture that is summed up beside the layers counts too.
    """
    taps = len(synthesis.config.resample_filter)  # none: doubled by repeating
    height = before = synthesis.layer_size(layer)[1]
    features = image = 0.0
    for k in range(layer, len(synthesis.layers)):
        here = synthesis.layer_size(k)[1]
        if k > layer:
            features += (1 + taps // 2 if here > before else 1) * height / here
        if k + 1 == len(synthesis.layers) or synthesis.layer_size(k + 1)[1] > here:  # a block ends: colours are added
            image = max(image + taps // 2 * height / here, features)
        before = here
    return math.ceil(max(features, image))
