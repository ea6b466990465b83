"""Pictures through similarity transforms, without aliasing: cut a crop out of a photo, look up a crop from the photo.

Where the result is smaller, whole blocks of the source are averaged first and the rest of the footprint is covered by
several bicubic samples per pixel; where it is larger or equal, one each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError

__all__ = ["BORDERS", "crop_grid", "cut", "gaussian_blur", "inverse", "sample"]

BORDERS = ("reflect", "edge", "black")
_MARGIN = 3  # px of source round the outermost sample, for the bicubic filter
_BLUR_SIZE = 0.02  # sigma of the blur outside the photo, in sides of the crop
_BLUR_RAMP = 0.06  # how far outside it is complete, in sides of the crop


def cut(
    photo: Tensor,  # [C, H, W]
    transform: Tensor,  # [2, 3]: crop to photo
    size: tuple[int, int],  # height, width of the crop
    border: str = "reflect",  # what is seen outside the photo
    blur: bool = True,  # more and more blurred outside the photo, so that no mirrored face looks in
) -> tuple[Tensor, Tensor]:
    """The crop [C, h, w] and where it shows the photo [h, w], 1 inside and 0 outside; float32, same device.

    Raises InputError for an unknown border.
    """
    if border not in BORDERS:
        raise InputError(f"Unknown border '{border}'; expected one of {', '.join(BORDERS)}.")
    crop = sample(photo, transform, size, border)
    depth = _depth(transform, size, photo.shape[1:]).to(photo.device)
    inside = (depth + 0.5).clamp(0, 1)
    if border == "black":
        return crop * inside, inside
    side = min(size)
    if blur and bool((depth < -0.5).any()):
        soft = gaussian_blur(crop, _BLUR_SIZE * side)
        crop = torch.lerp(crop, soft, (-depth / (_BLUR_RAMP * side)).clamp(0, 1))
    return crop, inside


def sample(
    source: Tensor,  # [C, H, W]
    transform: Tensor,  # [2, 3]: (x, y, 1) in the result to (x, y) in the source
    size: tuple[int, int],  # height, width of the result
    border: str = "edge",  # "reflect" mirrors the source at its edges, anything else repeats its edge
) -> Tensor:
    """[C, h, w] float32: what the result's pixels see of the source."""
    if source.device.type == "mps":  # bicubic samples are not offered there
        return sample(source.cpu(), transform, size, border).to(source.device)
    transform = transform.to("cpu", torch.float64)
    scale = float(transform[:, 0].norm())
    block = max(1, int(scale + 1e-3))
    patch, origin = _patch(source, transform, size, block, border)
    # In the patch's own pixels; its blocks divide the scale.
    shift = torch.tensor([[0, 0, origin[0]], [0, 0, origin[1]]], dtype=torch.float64)
    own = (transform - shift) / block
    rest = scale / block
    taps = 1 if rest < 1.01 else 2
    height, width = patch.shape[1:]
    scaled = torch.tensor([[2 / width], [2 / height]], dtype=torch.float64)
    total = None
    for k in range(taps * taps):
        offset = ((k % taps + 0.5) / taps, (k // taps + 0.5) / taps)
        grid = crop_grid(own * scaled, size, offset).sub(1).to(source.device, torch.float32)
        seen = F.grid_sample(patch[None], grid[None], mode="bicubic", padding_mode="border", align_corners=False)[0]
        total = seen if total is None else total + seen
    return total / (taps * taps) if taps > 1 else total


def crop_grid(transform: Tensor, size: tuple[int, int], offset: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """[h, w, 2] float64: the transform of every pixel's centre, or of another place within it."""
    x = torch.arange(size[1], dtype=torch.float64) + offset[0]
    y = torch.arange(size[0], dtype=torch.float64) + offset[1]
    (a, b, c), (d, e, f) = transform.tolist()
    along_x = a * x[None, :] + b * y[:, None] + c
    along_y = d * x[None, :] + e * y[:, None] + f
    return torch.stack([along_x, along_y], dim=-1)


def inverse(transform: Tensor) -> Tensor:
    """[2, 3]: the other way round."""
    turn = torch.linalg.inv(transform[:, :2])
    return torch.cat([turn, -turn @ transform[:, 2:]], dim=1)


def gaussian_blur(picture: Tensor, sigma: float) -> Tensor:
    """[C, H, W] blurred, mirrored at its edges; a sigma below a tenth of a pixel changes nothing."""
    if sigma < 0.1:
        return picture
    radius = max(1, math.ceil(3 * sigma))
    at = torch.arange(-radius, radius + 1, dtype=torch.float32, device=picture.device)
    weights = torch.exp(-0.5 * (at / sigma) ** 2)
    weights = weights / weights.sum()
    x = picture[:, None]
    for axis in (2, 3):
        index = _reflected(torch.arange(-radius, x.shape[axis] + radius), x.shape[axis]).to(x.device)
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        x = F.conv2d(x.index_select(axis, index), weights.reshape(shape))
    return x[:, 0]


def _patch(
    source: Tensor, transform: Tensor, size: tuple[int, int], block: int, border: str
) -> tuple[Tensor, tuple[int, int]]:
    """The part of the source that the result sees, averaged in blocks, and its left top corner in source pixels."""
    height, width = size
    ends = torch.tensor([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=torch.float64)
    seen = ends @ transform.t()
    first, last = seen.amin(dim=0), seen.amax(dim=0)
    pick = []
    for axis in (0, 1):
        low = math.floor(float(first[axis])) - _MARGIN * block
        count = -(-(math.ceil(float(last[axis])) + _MARGIN * block - low) // block)
        wanted = torch.arange(low, low + count * block)
        length = source.shape[2 - axis]
        index = _reflected(wanted, length) if border == "reflect" else wanted.clamp(0, length - 1)
        pick.append((low, index.to(source.device)))
    (left, columns), (top, rows) = pick
    patch = source.index_select(1, rows).to(torch.float32)
    patch = F.avg_pool2d(patch, (block, 1)) if block > 1 else patch  # rows first: less to hold
    patch = patch.index_select(2, columns)
    return (F.avg_pool2d(patch, (1, block)) if block > 1 else patch), (left, top)


def _reflected(index: Tensor, length: int) -> Tensor:
    """Mirrored at the outer edges of the first and last pixel, as often as needed."""
    index = index % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


def _depth(transform: Tensor, size: tuple[int, int], photo_size: tuple[int, int]) -> Tensor:
    """[h, w] float32: how far inside the photo each pixel of a crop is, in pixels of the crop; negative outside."""
    place = crop_grid(transform.to("cpu", torch.float64), size)
    height, width = photo_size
    x, y = place[..., 0], place[..., 1]
    depth = torch.minimum(torch.minimum(x, width - x), torch.minimum(y, height - y))
    return (depth / float(transform[:, 0].norm())).float()
