"""Compositing of edited crops into their photos: without a seam inside the mask, everything else to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError, check_choice
from ..common.filters import gaussian_blur
from ..common.lists import typed_list
from ..common.part_labels import PartLabels
from ..common.pictures import check_pictures
from ..common.progress import Progress
from .alignment import Alignment, corners
from .warp import inverse_transform, resample, sampling_grid

__all__ = ["MATCHES", "Pasted", "parts_mask", "paste_back"]

MATCHES = ("none", "colour", "lighting")
_COARSE = 96  # px of the grid on which differences of light are spread
_SHAPE_TOLERANCE = 0.02  # of the ratio of height to width: sizes are whole pixels
_GAIN = (0.7, 1.4)  # how far contrast may be changed


@dataclass(frozen=True, eq=False)
class Pasted:
    """The photos with the crops in them: ``photos`` [B, H, W, C] in 0..1, ``masks`` [B, H, W], 1 where a crop shows."""

    photos: Tensor
    masks: Tensor


class _CropMasks(NamedTuple):
    """The masks of one crop, 1 where it may show."""

    crop: Tensor | None  # [h, w]
    photo: Tensor | None  # [H, W]
    feather: float


def paste_back(
    photos: Tensor,  # [B, H, W, C] in 0..1, the full photos; C 3, or 4 whose last is left alone
    crops: Tensor,  # [N, h, w, 3] in 0..1, edited; any size of the crops' shape
    alignment: Alignment,
    crop_masks: Tensor | None = None,  # [N or 1, h, w] in 0..1, in the crops: 1 is pasted
    photo_masks: Tensor | None = None,  # [B or 1, H, W] in 0..1, in the photos: 1 may change
    feather: float = 0.1,  # width of the soft edge in sides of the crop
    match: str = "none",  # "colour": the edge gets the photo's mean and contrast; "lighting": its soft shading too
    unedited: Tensor | None = None,  # [N or 1, h, w, 3]: the crops before the edit; then only the difference is pasted
    progress: Progress | None = None,
) -> Pasted:
    """Paste N crops in their order. Where the mask is 0 the photo keeps its very bytes, whatever its dtype.

    One alignment of one crop serves any number of edited crops: each gets a copy of the photo. Edges of a crop that
    reach the photo's border are not feathered.

    Raises:
        InputError: batches or sizes that do not belong together, an unknown match, or values out of range.
    """
    crops, photo_of, transforms = _check_batch(photos, crops, alignment, feather, match)
    count = len(crops)
    crop_masks = _check_mask(crop_masks, count, None)
    if crop_masks is not None and _other_shape(crop_masks.shape[1:], alignment.crop_size):
        raise InputError(
            f"The mask is {crop_masks.shape[2]} x {crop_masks.shape[1]}, another shape than the crops, which are "
            f"{alignment.crop_size[1]} x {alignment.crop_size[0]}. Was it made for the full photos?"
        )
    photo_masks = _check_mask(photo_masks, len(photos), tuple(photos.shape[1:3]))
    if unedited is not None:
        check_pictures(unedited, "The crops before the edit")
    if unedited is not None and unedited.shape[0] not in (1, count):
        raise InputError(f"There are {unedited.shape[0]} crops before the edit and {count} after it; they must match.")
    copies = len(photos) == 1 and count > 1 and len(alignment) == 1
    pictures = photos.repeat(count, 1, 1, 1) if copies else photos.clone()
    masks = torch.zeros(pictures.shape[:3], dtype=torch.float32, device=photos.device)
    for k in range(count):
        target, transform = (k if copies else photo_of[k]), transforms[k]
        box = _box(transform, alignment)
        if box is not None:
            edited = _channels_first(crops[k], photos.device)
            original = None if unedited is None else _channels_first(_of_batch(unedited, k), photos.device)
            crop_mask = None if crop_masks is None else _of_batch(crop_masks, k).to(edited)
            photo_mask = None if photo_masks is None else _of_batch(photo_masks, photo_of[k]).to(edited)
            allowed = _CropMasks(crop_mask, photo_mask, feather)
            _paste(pictures[target], masks[target], edited, original, transform, alignment, box, allowed, match)
        if progress is not None:
            progress(k + 1, count, pictures[target][..., :3])
    return Pasted(pictures, masks)


def parts_mask(parts: PartLabels, names: str) -> Tensor:
    """Sum the masks of named parts.

    Args:
        names: a list with commas; without names, everything but the "background".

    Returns:
        [B, h, w] in 0..1.

    Raises:
        InputError: names that are not labelled.
    """
    listed = typed_list(names) or [name for name in parts.names if name != "background"]
    return torch.stack([parts.part(name) for name in listed]).sum(dim=0).clamp(0, 1)


def _paste(
    picture: Tensor,  # [H, W, C], changed in place
    covered: Tensor,  # [H, W], changed in place
    edited: Tensor,  # [3, h', w']
    unedited: Tensor | None,  # [3, h'', w'']
    transform: Tensor,  # [2, 3]: crop to photo, for a crop of alignment.crop_size
    alignment: Alignment,
    box: tuple[int, int, int, int],  # x0, y0, x1, y1
    masks: _CropMasks,
    match: str,
) -> None:
    """Paste one crop into its photo."""
    x0, y0, x1, y1 = box
    size = (y1 - y0, x1 - x0)
    to_crop = inverse_transform(transform)
    to_crop[:, 2] += to_crop[:, :2] @ torch.tensor([x0, y0], dtype=torch.float64)

    def in_photo(crop: Tensor) -> Tensor:
        # A crop may come back larger or smaller than it left, from an upscaler for instance.
        stretch = torch.tensor([crop.shape[2] / alignment.crop_size[1], crop.shape[1] / alignment.crop_size[0]])
        return resample(crop, to_crop * stretch.to(torch.float64)[:, None], size)

    window = _feather_window(to_crop, transform, alignment, size, masks.feather).to(edited.device)
    weight = window
    if masks.crop is not None:
        soft = gaussian_blur(masks.crop[None, None], masks.feather * min(masks.crop.shape) / 3)[0]
        weight = weight * in_photo(soft)[0].clamp(0, 1)
    patch = rearrange(picture[y0:y1, x0:x1, :3].to(torch.float32), "h w c -> c h w")
    if masks.photo is not None:
        weight = weight * masks.photo[y0:y1, x0:x1].clamp(0, 1)
    if unedited is None:
        target = in_photo(edited)
        if match != "none":
            target = _match_colour(target, patch, (window > 0) * (1 - weight), window, match)
    else:
        if unedited.shape != edited.shape:
            unedited = F.interpolate(unedited[None], edited.shape[1:], mode="bilinear", antialias=True)[0]
        target = patch + in_photo(edited - unedited)
    blended = rearrange(torch.lerp(patch, target.clamp(0, 1), weight), "c h w -> h w c").to(picture.dtype)
    picture[y0:y1, x0:x1, :3] = torch.where(weight[..., None] > 0, blended, picture[y0:y1, x0:x1, :3])
    covered[y0:y1, x0:x1] = torch.maximum(covered[y0:y1, x0:x1], weight)


def _feather_window(
    to_crop: Tensor, transform: Tensor, alignment: Alignment, size: tuple[int, int], feather: float
) -> Tensor:
    """Return 0 at the crop's edge and outside, 1 further inside than ``feather``, smooth between: [h, w] float32."""
    points = sampling_grid(to_crop, size)
    height, width = alignment.crop_size
    x, y = points[..., 0], points[..., 1]
    pixel = float(to_crop[:, 0].norm())  # of the photo, in pixels of the crop
    ramp = max(feather * min(height, width), pixel)
    window = torch.ones(size, dtype=torch.float64)
    for depth, at_border in zip((y, width - x, height - y, x), _edges_at_border(transform, alignment), strict=True):
        # Where the photo ends with the crop there is nothing to blend with.
        window = torch.minimum(window, (depth > 0).to(window) if at_border else (depth / ramp).clamp(0, 1))
    return (window * window * (3 - 2 * window)).float()


def _edges_at_border(transform: Tensor, alignment: Alignment) -> list[bool]:
    """Tell for the top, right, bottom and left edge of a crop that no pixel of the photo lies just outside of it."""
    points = corners(transform, alignment.crop_size)
    centre = points.mean(dim=0)
    height, width = alignment.photo_size
    at_border = []
    for k in range(4):
        start, end = points[k], points[(k + 1) % 4]
        along = torch.linspace(0, 1, 257, dtype=torch.float64)[:, None]
        outwards = (start + end) / 2 - centre
        x, y = (start + along * (end - start) + 0.75 * outwards / outwards.norm()).unbind(dim=1)
        at_border.append(not bool(((x > 0) & (x < width) & (y > 0) & (y < height)).any()))
    return at_border


def _match_colour(crop: Tensor, patch: Tensor, seam: Tensor, window: Tensor, match: str) -> Tensor:
    """Give a crop [3, h, w] the photo's colour where both are known to show the same: at the seam [h, w]."""
    if float(seam.sum()) < 16:
        seam = (window > 0).to(crop) * 1e-3 + seam  # hard edges: all of the crop
    if match == "colour":
        share = seam / seam.sum()
        means = [(x * share).sum(dim=(1, 2), keepdim=True) for x in (crop, patch)]
        centred = [x - mean for x, mean in zip((crop, patch), means, strict=True)]
        # Regression, not a ratio of spreads: a soft generator must not have its contrast raised for being soft.
        covariance, variance = ((x * centred[0] * share).sum(dim=(1, 2), keepdim=True) for x in centred[::-1])
        return centred[0] * (covariance / variance.clamp(min=1e-4)).clamp(*_GAIN) + means[1]
    return crop + _pull_push(patch - crop, seam)


def _pull_push(difference: Tensor, known: Tensor) -> Tensor:
    """Carry differences [3, h, w], known with weights [h, w], on to where nothing is known, by pull and push."""
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
        coarser = F.interpolate(filled, weight.shape[2:], mode="bilinear", align_corners=False)
        trust = (weight * 8).clamp(0, 1)
        filled = torch.lerp(coarser, value / weight.clamp(min=1e-8), trust)
    return F.interpolate(filled, (height, width), mode="bicubic", align_corners=False)[0]


def _check_batch(
    photos: Tensor, crops: Tensor, alignment: Alignment, feather: float, match: str
) -> tuple[Tensor, list[int], list[Tensor]]:
    """Return the crops, the photo of each, and the transform of each."""
    check_choice("match", match, MATCHES)
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


def _check_mask(mask: Tensor | None, count: int, size: tuple[int, int] | None) -> Tensor | None:
    """Return a MASK as [count or 1, h, w], resized to ``size`` where one is asked for."""
    if mask is None:
        return None
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or 0 in mask.shape:
        raise InputError(f"The mask has shape {list(mask.shape)}; expected a MASK [B, H, W].")
    if len(mask) not in (1, count):
        raise InputError(f"There are {len(mask)} masks for {count} pictures; give one each, or one for all.")
    if size is not None and tuple(mask.shape[1:]) != size:
        mask = F.interpolate(mask[:, None].float(), size, mode="bilinear", antialias=True)[:, 0]
    return mask


def _other_shape(size: tuple[int, ...], expected: tuple[int, int]) -> bool:
    return abs(size[0] * expected[1] / (size[1] * expected[0]) - 1) > _SHAPE_TOLERANCE


def _of_batch(batch: Tensor, k: int) -> Tensor:
    """Return entry k of a batch in which one may stand for all."""
    return batch[k if len(batch) > 1 else 0]


def _channels_first(picture: Tensor, device: torch.device) -> Tensor:
    """[h, w, 3 or 4] -> [3, h, w] float32."""
    return rearrange(picture[..., :3].to(device, torch.float32), "h w c -> c h w")


def _box(transform: Tensor, alignment: Alignment) -> tuple[int, int, int, int] | None:
    """Return x0, y0, x1, y1 of the photo's pixels that a crop may touch; None when it lies outside."""
    points = corners(transform, alignment.crop_size)
    height, width = alignment.photo_size
    x0, y0 = (max(0, int(value)) for value in points.amin(dim=0).floor().tolist())
    x1, y1 = (
        min(limit, int(value)) for value, limit in zip(points.amax(dim=0).ceil().tolist(), (width, height), strict=True)
    )
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
