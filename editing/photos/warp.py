"""Resampling of pictures through similarity transforms, without aliasing: crops of photos, and back.

Where the result is smaller, whole blocks of the source are averaged first and the rest of the footprint is covered by
several bicubic samples per pixel; where it is larger or equal, one each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import check_choice
from ..common.filters import gaussian_blur, symmetric_index

__all__ = ["BORDERS", "extract_crop", "inverse_transform", "resample", "sampling_grid"]

BORDERS = ("reflect", "edge", "black")
_MARGIN = 3  # px of source round the outermost sample, for the bicubic filter
_BLUR_SIZE = 0.02  # sigma of the blur outside the photo, in sides of the crop
_BLUR_RAMP = 0.06  # how far outside it is complete, in sides of the crop


def extract_crop(
    photo: Tensor,  # [C, H, W]
    transform: Tensor,  # [2, 3]: crop to photo
    size: tuple[int, int],  # height, width of the crop
    border: str = "reflect",  # of BORDERS: the photo outside its edges
    blur: bool = True,  # more and more blurred outside the photo, so that no mirrored face looks in
) -> tuple[Tensor, Tensor]:
    """Resample a crop out of a photo.

    Returns:
        The crop [C, h, w], and a mask [h, w]: 1 where it shows the photo, 0 outside; both float32, on the same device.

    Raises:
        InputError: an unknown border.
    """
    check_choice("border", border, BORDERS)
    crop = resample(photo, transform, size, border)
    depth = _depth_inside(transform, size, photo.shape[1:]).to(photo.device)
    inside = (depth + 0.5).clamp(0, 1)
    if border == "black":
        return crop * inside, inside
    length = min(size)
    if blur and bool((depth < -0.5).any()):
        blurred = gaussian_blur(crop[None], _BLUR_SIZE * length)[0]
        crop = torch.lerp(crop, blurred, (-depth / (_BLUR_RAMP * length)).clamp(0, 1))
    return crop, inside


def resample(
    source: Tensor,  # [C, H, W]
    transform: Tensor,  # [2, 3]: (x, y, 1) in the result to (x, y) in the source
    size: tuple[int, int],  # height, width of the result
    border: str = "edge",  # "reflect" mirrors the source at its edges, anything else repeats its edge
) -> Tensor:
    """Resample a picture, bicubic, each pixel of the result over its whole footprint in the source.

    Returns:
        [C, h, w] float32.
    """
    if source.device.type == "mps":  # bicubic samples are not offered there
        return resample(source.cpu(), transform, size, border).to(source.device)
    transform = transform.to("cpu", torch.float64)
    scale = float(transform[:, 0].norm())
    block = max(1, int(scale + 1e-3))
    patch, origin = _source_patch(source, transform, size, block, border)
    # In the patch's own pixels; its blocks divide the scale.
    shift = torch.tensor([[0, 0, origin[0]], [0, 0, origin[1]]], dtype=torch.float64)
    to_patch = (transform - shift) / block
    taps = 1 if scale / block < 1.01 else 2
    height, width = patch.shape[1:]
    normalize = torch.tensor([[2 / width], [2 / height]], dtype=torch.float64)
    total = None
    for k in range(taps * taps):
        offset = ((k % taps + 0.5) / taps, (k // taps + 0.5) / taps)
        grid = sampling_grid(to_patch * normalize, size, offset).sub(1).to(source.device, torch.float32)
        values = F.grid_sample(patch[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False)[0]
        total = values if total is None else total + values
    return total / (taps * taps) if taps > 1 else total


def sampling_grid(
    transform: Tensor,  # [2, 3]
    size: tuple[int, int],  # height, width
    offset: tuple[float, float] = (0.5, 0.5),  # x, y of the point within each pixel that is transformed
) -> Tensor:
    """Transform every pixel's centre, or another point within it: [h, w, 2] float64, (x, y)."""
    x = torch.arange(size[1], dtype=torch.float64) + offset[0]
    y = torch.arange(size[0], dtype=torch.float64) + offset[1]
    (a, b, c), (d, e, f) = transform.tolist()
    along_x = a * x[None, :] + b * y[:, None] + c
    along_y = d * x[None, :] + e * y[:, None] + f
    return torch.stack([along_x, along_y], dim=-1)


def inverse_transform(transform: Tensor) -> Tensor:
    """Invert a transform [2, 3]: [2, 3]."""
    inverse = torch.linalg.inv(transform[:, :2])
    return torch.cat([inverse, -inverse @ transform[:, 2:]], dim=1)


def _source_patch(
    source: Tensor, transform: Tensor, size: tuple[int, int], block: int, border: str
) -> tuple[Tensor, tuple[int, int]]:
    """Return the source under the result, averaged in blocks, and its left top corner (x, y) in source pixels."""
    height, width = size
    corners = torch.tensor([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=torch.float64)
    points = corners @ transform.t()
    first, last = points.amin(dim=0), points.amax(dim=0)
    spans = []
    for axis in (0, 1):
        low = math.floor(float(first[axis])) - _MARGIN * block
        count = -(-(math.ceil(float(last[axis])) + _MARGIN * block - low) // block)
        index = torch.arange(low, low + count * block)
        length = source.shape[2 - axis]
        index = symmetric_index(index, length) if border == "reflect" else index.clamp(0, length - 1)
        spans.append((low, index.to(source.device)))
    (left, columns), (top, rows) = spans
    patch = source.index_select(1, rows).to(torch.float32)
    patch = F.avg_pool2d(patch, (block, 1)) if block > 1 else patch  # rows first: less to hold
    patch = patch.index_select(2, columns)
    return (F.avg_pool2d(patch, (1, block)) if block > 1 else patch), (left, top)


def _depth_inside(transform: Tensor, size: tuple[int, int], photo_size: tuple[int, int]) -> Tensor:
    """Return each crop pixel's distance from the photo's edge, in crop pixels, negative outside: [h, w] float32."""
    points = sampling_grid(transform.to("cpu", torch.float64), size)
    height, width = photo_size
    x, y = points[..., 0], points[..., 1]
    depth = torch.minimum(torch.minimum(x, width - x), torch.minimum(y, height - y))
    return (depth / float(transform[:, 0].norm())).float()
