"""Crop boxes: the part of a picture that a synthesis draws alone, as convolutions see only their neighbours.

What a stroke changes at one layer spreads a few cells further with each layer after it, and no more. So a run that goes
on from a crop of a layer's features gives the same values as a run of the whole picture, except within
`receptive_radius` cells of the edges at which the crop was cut, where zeros stand in for the neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..errors import InputError

__all__ = ["CropBox", "bounding_box", "crop", "receptive_radius"]


@dataclass(frozen=True)
class CropBox:
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of a layer, the last ones excluded.

    ``height`` and ``width`` are the full layer's. Layers of other sizes have the same box, in their own cells.

    Raises:
        InputError: a box that is empty or lies outside.
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
    def area_fraction(self) -> float:
        """The box's share of the full area, 0..1."""
        return (self.bottom - self.top) * (self.right - self.left) / (self.height * self.width)

    def edges(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, bottom, left and right in cells of a layer of ``height`` x ``width``.

        Raises:
            InputError: an edge would lie within a cell.
        """
        rows = [row * height for row in (self.top, self.bottom)]
        columns = [column * width for column in (self.left, self.right)]
        if any(row % self.height for row in rows) or any(column % self.width for column in columns):
            raise InputError(f"{self} has no whole cells in a layer of {height} x {width}.")
        return (rows[0] // self.height, rows[1] // self.height, columns[0] // self.width, columns[1] // self.width)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the box's height and width in cells of a layer of ``height`` x ``width``."""
        top, bottom, left, right = self.edges(height, width)
        return bottom - top, right - left

    def full_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the full layer whose crop is ``height`` x ``width``."""
        return self.height * height // (self.bottom - self.top), self.width * width // (self.right - self.left)

    def expand(self, margin: int, step: int = 1) -> CropBox:
        """Return the box with ``margin`` more cells on each side, as far as there are any.

        Args:
            margin: in cells of ``height`` x ``width``.
            step: edges lie on multiples of it, or at the layer's own end.
        """
        top, left = (max(0, edge - margin) // step * step for edge in (self.top, self.left))
        bottom, right = (-(-(edge + margin) // step) * step for edge in (self.bottom, self.right))
        return CropBox(top, min(bottom, self.height), left, min(right, self.width), self.height, self.width)

    def crop(self, x: Tensor) -> Tensor:
        """Cut the box out of a full layer, [..., H, W] -> [..., h, w], a view."""
        top, bottom, left, right = self.edges(*x.shape[-2:])
        return x[..., top:bottom, left:right]


def crop(x: Tensor, box: CropBox | None) -> Tensor:
    """Cut a box out of a full layer, [..., H, W] -> [..., h, w]; without a box all of it."""
    return x if box is None else box.crop(x)


def bounding_box(mask: Tensor) -> CropBox | None:
    """Return the smallest box around all that is above 0 in any of B masks [B, 1, h, w]; None for zeros."""
    above = (mask > 0).any(dim=0)[0]
    rows, columns = (above.any(dim=dim).nonzero().flatten().tolist() for dim in (1, 0))
    return CropBox(rows[0], rows[-1] + 1, columns[0], columns[-1] + 1, *above.shape) if rows else None


def receptive_radius(synthesis, layer: int) -> int:
    """Return how far at most one value of a layer spreads in the finished picture.

    Args:
        synthesis: a StyleGAN2's or a Progressive GAN's.
        layer: whose value it is.

    Returns:
        Cells of ``layer``, rounded up. The picture that is summed up beside the layers counts too.
    """
    half_filter = len(synthesis.config.resample_filter) // 2
    height = previous_height = synthesis.layer_size(layer)[1]
    features = image = 0.0
    for k in range(layer, len(synthesis.layers)):
        layer_height = synthesis.layer_size(k)[1]
        cell = height / layer_height
        if k > layer:
            features += (1 + half_filter if layer_height > previous_height else 1) * cell
        block_ends = k + 1 == len(synthesis.layers) or synthesis.layer_size(k + 1)[1] > layer_height
        if block_ends:  # its colours are added
            image = max(image + half_filter * cell, features)
        previous_height = layer_height
    return math.ceil(max(features, image))
