"""Edited crops back into their photos: only where they belong, without a seam, everything else to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError
from ..common.lists import typed_list
from ..common.part_labels import PartLabels
from ..common.pictures import check_pictures
from .alignment import Alignment, corners
from .warp import crop_grid, gaussian_blur, inverse, sample

__all__ = ["MATCHES", "Pasted", "parts_mask", "paste_back"]

MATCHES = ("none", "colour", "lighting")
Progress = Callable[..., None]
_COARSE = 96  # px of the grid on which differences of light are spread
_SHAPE_TOLERANCE = 0.02  # of the ratio of height to width: sizes are whole pixels
_GAIN = (0.7, 1.4)  # how far contrast may be changed


@dataclass(frozen=True, eq=False)
class Pasted:
    """photos [B, H, W, C] with the crops in them, masks [B, H, W]: 1 where the crop shows, 0 where nothing changed."""

    photos: Tensor
    masks: Tensor


class _Places(NamedTuple):
    """Where one crop may show."""

    in_crop: Tensor | None  # [h, w]
    in_photo: Tensor | None  # [H, W]
    feather: float


def paste_back(
    photos: Tensor,  # [B, H, W, C] in 0..1, the full photos; C 3, or 4 whose last is left alone
    crops: Tensor,  # [N, h, w, 3] in 0..1, edited; any size of the crops' shape
    alignment: Alignment,
    where: Tensor | None = None,  # [N or 1, h, w] in 0..1, in the crops: 1 is pasted
    where_in_photos: Tensor | None = None,  # [B or 1, H, W] in 0..1, in the photos: 1 may change
    feather: float = 0.1,  # width of the soft edge in sides of the crop
    match: str = "none",  # "colour": the edge gets the photo's mean and contrast; "lighting": its soft shading too
    before: Tensor | None = None,  # [N, h, w, 3]: the crops before the edit; then only the difference is pasted
    progress: Progress | None = None,
) -> Pasted:
    """Paste N crops in their order. Where the mask is 0 the photo keeps its very bytes, whatever its dtype.

    One alignment of one crop serves any number of edited crops: each gets a copy of the photo. Edges of a crop that
    reach the photo's border are not feathered.

    Raises InputError for batches and sizes that do not belong together, an unknown match, or values out of range.
    """
    crops, photo_of, transforms = _checked(photos, crops, alignment, feather, match)
    count = len(crops)
    where = _check_mask("mask", where, count, None)
    if where is not None and _other_shape(where.shape[1:], alignment.crop_size):
        raise InputError(
            f"The mask is {where.shape[2]} x {where.shape[1]}, another shape than the crops, which are "
            f"{alignment.crop_size[1]} x {alignment.crop_size[0]}. Was it made for the full photos?"
        )
    where_in_photos = _check_mask("mask", where_in_photos, len(photos), tuple(photos.shape[1:3]))
    if before is not None:
        check_pictures(before, "The crops before the edit")
    if before is not None and before.shape[0] not in (1, count):
        raise InputError(f"There are {before.shape[0]} crops before the edit and {count} after it; they must match.")
    copies = len(photos) == 1 and count > 1 and len(alignment) == 1
    pictures = photos.repeat(count, 1, 1, 1) if copies else photos.clone()
    masks = torch.zeros(pictures.shape[:3], dtype=torch.float32, device=photos.device)
    for k in range(count):
        target, transform = (k if copies else photo_of[k]), transforms[k]
        box = _box(transform, alignment)
        if box is not None:
            edited = crops[k].to(photos.device, torch.float32).movedim(-1, 0)
            old = None if before is None else _one(before, k)[..., :3].to(edited.device, torch.float32).movedim(-1, 0)
            mask = None if where is None else _one(where, k).to(edited)
            allowed = None if where_in_photos is None else _one(where_in_photos, photo_of[k]).to(edited)
            places = _Places(mask, allowed, feather)
            _paste(pictures[target], masks[target], edited, old, transform, alignment, box, places, match)
        if progress is not None:
            progress(k + 1, count, pictures[target][..., :3])
    return Pasted(pictures, masks)


def parts_mask(parts: PartLabels, names: str) -> Tensor:
    """[B, h, w]: where the named parts are (a list with commas); without names, everything but the "background".

    Raises InputError for names that are not labelled.
    """
    chosen = typed_list(names)
    chosen = chosen or [name for name in parts.names if name != "background"]
    return torch.stack([parts.part(name) for name in chosen]).sum(dim=0).clamp(0, 1)


def _paste(
    picture: Tensor,  # [H, W, C], changed in place
    covered: Tensor,  # [H, W], changed in place
    edited: Tensor,  # [3, h', w']
    before: Tensor | None,
    transform: Tensor,  # [2, 3]: crop to photo, for a crop of alignment.crop_size
    alignment: Alignment,
    box: tuple[int, int, int, int],  # x0, y0, x1, y1
    places: _Places,
    match: str,
) -> None:
    x0, y0, x1, y1 = box
    size = (y1 - y0, x1 - x0)
    to_crop = inverse(transform)
    to_crop[:, 2] += to_crop[:, :2] @ torch.tensor([x0, y0], dtype=torch.float64)

    def seen(crop: Tensor) -> Tensor:
        # A crop may come back larger or smaller than it left, from an upscaler for instance.
        stretch = torch.tensor([crop.shape[2] / alignment.crop_size[1], crop.shape[1] / alignment.crop_size[0]])
        return sample(crop, to_crop * stretch.to(torch.float64)[:, None], size)

    window = _window(to_crop, transform, alignment, size, places.feather).to(edited.device)
    weight = window
    if places.in_crop is not None:
        soft = gaussian_blur(places.in_crop[None], places.feather * min(places.in_crop.shape) / 3)
        weight = weight * seen(soft)[0].clamp(0, 1)
    patch = picture[y0:y1, x0:x1, :3].to(torch.float32).movedim(-1, 0)
    if places.in_photo is not None:
        weight = weight * places.in_photo[y0:y1, x0:x1].clamp(0, 1)
    if before is None:
        fresh = seen(edited)
        if match != "none":
            fresh = _matched(fresh, patch, (window > 0) * (1 - weight), window, match)
    else:
        if before.shape != edited.shape:
            before = F.interpolate(before[None], edited.shape[1:], mode="bilinear", antialias=True)[0]
        fresh = patch + seen(edited - before)
    blended = torch.lerp(patch, fresh.clamp(0, 1), weight).movedim(0, -1).to(picture.dtype)
    kept = picture[y0:y1, x0:x1, :3]
    picture[y0:y1, x0:x1, :3] = torch.where(weight[..., None] > 0, blended, kept)
    covered[y0:y1, x0:x1] = torch.maximum(covered[y0:y1, x0:x1], weight)


def _window(to_crop: Tensor, transform: Tensor, alignment: Alignment, size: tuple[int, int], feather: float) -> Tensor:
    """[h, w] float32: 0 at the crop's edge and outside, 1 further inside than ``feather``."""
    place = crop_grid(to_crop, size)
    height, width = alignment.crop_size
    x, y = place[..., 0], place[..., 1]
    pixel = float(to_crop[:, 0].norm())  # of the photo, in pixels of the crop
    ramp = max(feather * min(height, width), pixel)
    window = torch.ones(size, dtype=torch.float64)
    for inwards, reaches in zip((y, width - x, height - y, x), _edges_at_border(transform, alignment), strict=True):
        # Where the photo ends with the crop there is nothing to blend with.
        window = torch.minimum(window, (inwards > 0).to(window) if reaches else (inwards / ramp).clamp(0, 1))
    return (window * window * (3 - 2 * window)).float()


def _edges_at_border(transform: Tensor, alignment: Alignment) -> list[bool]:
    """For the top, right, bottom and left edge of a crop: whether no pixel of the photo lies just outside of it."""
    points = corners(transform, alignment.crop_size)
    middle = points.mean(dim=0)
    height, width = alignment.photo_size
    found = []
    for k in range(4):
        start, end = points[k], points[(k + 1) % 4]
        along = torch.linspace(0, 1, 257, dtype=torch.float64)[:, None]
        outwards = (start + end) / 2 - middle
        place = start + along * (end - start) + 0.75 * outwards / outwards.norm()
        inside = (place[:, 0] > 0) & (place[:, 0] < width) & (place[:, 1] > 0) & (place[:, 1] < height)
        found.append(not bool(inside.any()))
    return found


def _matched(fresh: Tensor, patch: Tensor, seam: Tensor, window: Tensor, match: str) -> Tensor:
    """The crop [3, h, w] with the photo's colour where both are known to show the same: at the seam [h, w]."""
    if float(seam.sum()) < 16:
        seam = (window > 0).to(fresh) * 1e-3 + seam  # hard edges: all of the crop
    if match == "colour":
        share = seam / seam.sum()
        means = [(x * share).sum(dim=(1, 2), keepdim=True) for x in (fresh, patch)]
        apart = [x - mean for x, mean in zip((fresh, patch), means, strict=True)]
        # Regression, not a ratio of spreads: a soft generator must not have its contrast raised for being soft.
        together, own = ((x * apart[0] * share).sum(dim=(1, 2), keepdim=True) for x in (apart[1], apart[0]))
        return apart[0] * (together / own.clamp(min=1e-4)).clamp(*_GAIN) + means[1]
    return fresh + _spread(patch - fresh, seam)


def _spread(difference: Tensor, known: Tensor) -> Tensor:
    """[3, h, w] differences, known with weights [h, w], carried on to where nothing is known (pull and push)."""
    height, width = known.shape
    shrink = max(1.0, max(height, width) / _COARSE)
    coarse = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    weight = F.interpolate(known[None, None], coarse, mode="area")
    value = F.interpolate((difference * known)[None], coarse, mode="area")
    levels = [(value, weight)]
    while max(levels[-1][1].shape[2:]) > 1:
        levels.append(tuple(F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in levels[-1]))
    value, weight = levels.pop()
    filled = value / weight.clamp(min=1e-8)
    while levels:
        value, weight = levels.pop()
        behind = F.interpolate(filled, weight.shape[2:], mode="bilinear", align_corners=False)
        trust = (weight * 8).clamp(0, 1)
        filled = torch.lerp(behind, value / weight.clamp(min=1e-8), trust)
    return F.interpolate(filled, (height, width), mode="bicubic", align_corners=False)[0]


def _checked(
    photos: Tensor, crops: Tensor, alignment: Alignment, feather: float, match: str
) -> tuple[Tensor, list[int], list[Tensor]]:
    """The crops, the photo of each, and the transform of each."""
    if match not in MATCHES:
        raise InputError(f"Unknown match '{match}'; expected one of {', '.join(MATCHES)}.")
    if not 0 <= feather <= 0.5:
        raise InputError(f"The feather is {feather:g}; expected 0 to 0.5 sides of the crop.")
    check_pictures(photos, "The photos")
    check_pictures(crops, "The crops")
    if tuple(photos.shape[1:3]) != tuple(alignment.photo_size) or len(photos) != alignment.photos:
        raise InputError(
            f"The alignment belongs to {alignment.photos} photos of {alignment.photo_size[1]} x "
            f"{alignment.photo_size[0]}; got {len(photos)} of {photos.shape[2]} x {photos.shape[1]}. Connect the "
            "photos that went into Align Crop."
        )
    if _other_shape(crops.shape[1:3], alignment.crop_size):
        raise InputError(
            f"The edited crops are {crops.shape[2]} x {crops.shape[1]}; the alignment cut {alignment.crop_size[1]} x "
            f"{alignment.crop_size[0]}. Another size is fine, another shape is not."
        )
    crops = crops[..., :3]
    if len(crops) == len(alignment):
        return crops, list(alignment.pictures), list(alignment.transforms)
    if len(alignment) == 1 and len(photos) == 1:
        return crops, [0] * len(crops), [alignment.transforms[0]] * len(crops)
    raise InputError(
        f"There are {len(crops)} edited crops; the alignment holds {len(alignment)} crops of {alignment.photos} "
        "photos. Give one edited crop for each, in the same order."
    )


def _check_mask(what: str, mask: Tensor | None, count: int, size: tuple[int, int] | None) -> Tensor | None:
    if mask is None:
        return None
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or 0 in mask.shape:
        raise InputError(f"The {what} has shape {list(mask.shape)}; expected a MASK [B, H, W].")
    if len(mask) not in (1, count):
        raise InputError(f"There are {len(mask)} masks for {count} pictures; give one each, or one for all.")
    if size is not None and tuple(mask.shape[1:]) != size:
        mask = F.interpolate(mask[:, None].float(), size, mode="bilinear", antialias=True)[:, 0]
    return mask


def _other_shape(size: tuple[int, ...], wanted: tuple[int, int]) -> bool:
    return abs(size[0] * wanted[1] / (size[1] * wanted[0]) - 1) > _SHAPE_TOLERANCE


def _one(batch: Tensor, k: int) -> Tensor:
    return batch[k if len(batch) > 1 else 0]


def _box(transform: Tensor, alignment: Alignment) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of the photo's pixels that a crop may touch; None when it lies outside."""
    points = corners(transform, alignment.crop_size)
    height, width = alignment.photo_size
    x0, y0 = (max(0, int(v)) for v in points.amin(dim=0).floor().tolist())
    x1, y1 = (min(limit, int(v)) for v, limit in zip(points.amax(dim=0).ceil().tolist(), (width, height), strict=True))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
