"""The region of a picture that strokes can affect, so that no more than that is drawn for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...models.gan.crop_box import CropBox, receptive_radius
from ...models.gan.synthesis_run import LayerState

__all__ = ["affected_region", "best_crop", "crop_state", "region_to_draw"]

_STEP = 2  # cells: the picture so far may be of half the layer's size
_WORTH = 0.85  # of the cost of the full picture: a crop has to cost less


def crop_state(state: LayerState | None, box: CropBox | None) -> LayerState | None:
    """Crop the state of a synthesis; without a state or a box it stays as it is.

    Raises:
        InputError: the state is cropped already, or an edge lies within a cell.
    """
    return state if box is None else state.crop(box)


def region_to_draw(synthesis, marks: Sequence[CropBox], layer: int) -> CropBox | None:
    """Return the crop to draw from a layer on, so that all that strokes change comes out as in the full picture.

    Args:
        synthesis: a generator's.
        marks: the boxes of the strokes' masks, at each size at which they are painted, and at the picture's.
        layer: the layer whose state is cropped.

    Returns:
        Twice the receptive radius around the marks: once what they change, once what the crop's edge changes. None
        where that is hardly less than the full picture.
    """
    region = affected_region(synthesis, marks, layer)
    if region is None:
        return None
    region = region.expand(receptive_radius(synthesis, layer), _STEP)
    return region if region.area_fraction < _WORTH else None


def best_crop(synthesis, marks: Sequence[CropBox], last: int, first: int = 0) -> tuple[int, CropBox] | None:
    """Choose where to crop a run that is needed inside the marks alone.

    An early crop spares more layers, but needs a larger region of them.

    Args:
        synthesis: a generator's.
        marks: as of `region_to_draw`.
        last: the last layer after which to crop.
        first: the first one.

    Returns:
        (layer, its region), or None where no crop is worth it.
    """
    costs = _layer_costs(synthesis)
    lowest_cost, choice = _WORTH * sum(costs), None
    for layer in range(first, last + 1):
        region = affected_region(synthesis, marks, layer)
        if region is None:
            continue
        cost = sum(costs[: layer + 1]) + region.area_fraction * sum(costs[layer + 1 :])
        if cost < lowest_cost:
            lowest_cost, choice = cost, (layer, region)
    return choice


def affected_region(synthesis, marks: Sequence[CropBox], layer: int) -> CropBox | None:
    """Return what painting inside the marks after a layer can change, in the layer's cells; None without marks.

    It is also what a run that is cropped there has to draw, to be right inside the marks.
    """
    _, height, width = synthesis.layer_size(layer)
    if not marks:
        return None
    union = CropBox(
        min(mark.top * height // mark.height for mark in marks),
        max(-(-mark.bottom * height // mark.height) for mark in marks),
        min(mark.left * width // mark.width for mark in marks),
        max(-(-mark.right * width // mark.width) for mark in marks),
        height,
        width,
    )
    return union.expand(receptive_radius(synthesis, layer), _STEP)


def _layer_costs(synthesis) -> list[float]:
    """Return the layers' costs to a common factor: products of their convolutions; a doubling one does half as many."""
    sizes = [synthesis.layer_size(layer) for layer in range(len(synthesis.layers))]
    costs = []
    for (in_channels, in_height, _), size in zip(sizes[:1] + sizes, sizes, strict=False):
        costs.append(in_channels * math.prod(size) * (0.5 if size[1] > in_height else 1.0))
    return costs
