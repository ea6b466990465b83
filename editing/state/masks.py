"""Readers of a mask: how large it is, where it lies, and what colour the picture has under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError, check_choice
from .reader import StateReader, check_picture_batch

__all__ = ["MASK_MEASURES", "measure_masks", "reader_from_mask"]

MASK_MEASURES: dict[str, str] = {  # name -> unit
    "area": "share of the picture",
    "left to right": "share of the width",
    "top to bottom": "share of the height",
    "brightness": "0..1",
    "red": "0..1",
    "green": "0..1",
    "blue": "0..1",
    "saturation": "0..1",
}
_AREA = 1e-4  # of the picture: a smaller mask is empty
_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709


def measure_masks(pictures: Tensor, masks: Tensor | None, names: Sequence[str]) -> Tensor:
    """Measure pictures under masks.

    Args:
        pictures: [B, 3, H, W] in -1..1.
        masks: [B or 1, h, w] or [B or 1, 1, h, w] in 0..1; of another size they are resized; None: the whole picture.
        names: of `MASK_MEASURES`.

    Returns:
        [B, K]; NaN where the mask is empty, but for its area, which is 0 then.

    Raises:
        InputError: an unknown name, or masks of another number than pictures.
    """
    check_picture_batch(pictures)
    for name in names:
        check_choice("measure", name, MASK_MEASURES)
    size = pictures.shape[2:]
    weight = pictures.new_ones(len(pictures), 1, *size) if masks is None else _fitted(masks, pictures)
    area = weight.mean(dim=(1, 2, 3))
    share = weight / weight.sum(dim=(2, 3), keepdim=True).clamp(min=1e-12)
    colours = ((pictures.clamp(-1, 1) + 1) / 2 * share).sum(dim=(2, 3))  # [B, 3]
    across = (torch.arange(size[1], device=pictures.device) + 0.5) / size[1]
    down = (torch.arange(size[0], device=pictures.device) + 0.5) / size[0]
    measures = {
        "left to right": (share.sum(dim=2)[:, 0] * across).sum(dim=1),
        "top to bottom": (share.sum(dim=3)[:, 0] * down).sum(dim=1),
        "brightness": colours @ colours.new_tensor(_LUMA),
        "red": colours[:, 0],
        "green": colours[:, 1],
        "blue": colours[:, 2],
        "saturation": (colours.amax(dim=1) - colours.amin(dim=1)) / colours.amax(dim=1).clamp(min=1e-6),
    }
    empty = area < _AREA
    columns = [area if name == "area" else torch.where(empty, torch.nan, measures[name]) for name in names]
    return torch.stack(columns, dim=1)


def reader_from_mask(
    segment: Callable[[Tensor], Tensor] | None, names: Sequence[str] = ("area",), noise: Tensor | None = None
) -> StateReader:
    """Build a reader of what a segmenter finds.

    Args:
        segment: pictures [B, 3, H, W] in -1..1 -> masks [B, h, w] or [B, 1, h, w]; None: the whole picture.
        names: of `MASK_MEASURES`.
        noise: as a `StateReader`'s.

    Raises:
        InputError: an unknown name, or none.
    """
    for name in names:
        check_choice("measure", name, MASK_MEASURES)

    def read(pictures: Tensor) -> Tensor:
        return measure_masks(pictures, None if segment is None else segment(pictures), names)

    def problems(pictures: Tensor) -> list[str]:
        if segment is None:
            return [""] * len(pictures)
        areas = measure_masks(pictures, segment(pictures), ("area",))[:, 0]
        unread = [name for name in names if name != "area"]
        empty = f"its mask is empty, so that it has no {' and no '.join(unread)}"
        return [empty if unread and area < _AREA else "" for area in areas.tolist()]

    units = tuple(MASK_MEASURES[name] for name in names)
    return StateReader(read, tuple(names), units, noise, "whole picture" if segment is None else "mask", problems)


def _fitted(masks: Tensor, pictures: Tensor) -> Tensor:
    """Bring masks to [B, 1, H, W] of the pictures."""
    weight = masks[:, None] if masks.ndim == 3 else masks
    if weight.ndim != 4 or weight.shape[1] != 1 or len(weight) not in (1, len(pictures)) or 0 in weight.shape:
        raise InputError(
            f"The masks have shape {list(masks.shape)}; expected [{len(pictures)}, H, W], one per picture, or "
            "one for all."
        )
    weight = weight.to(pictures)
    if not bool(torch.isfinite(weight).all()):
        raise InputError("The masks must be finite numbers in 0..1.")
    if weight.shape[2:] != pictures.shape[2:]:
        weight = F.interpolate(weight, pictures.shape[2:], mode="bilinear", antialias=True, align_corners=False)
    return weight.clamp(0, 1).expand(len(pictures), -1, -1, -1)
