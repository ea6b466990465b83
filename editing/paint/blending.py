"""Joining a painted region to its photo: a feathered linear mix, and the two classical ways to compare it with.

All three take the photo, the painted picture and a mask; but for the Laplacian pyramid, every pixel that the mask does
not reach stays as the photo has it. Sizes in pixels are given for pictures of 256 and scale with the shorter side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.crop_box import marked

__all__ = [
    "BLENDS",
    "blend",
    "blend_laplacian",
    "blend_linear",
    "blend_poisson",
    "dilated",
    "feathered_mask",
    "harmonic",
]

DILATION = 16.0  # px at 256
FEATHER = 4.0  # px at 256, sigma
_TOLERANCE = 3e-4  # of the step at the seam: what is left is below a grey level
_MOST_STEPS = 2000
_COARSEST = 16  # px
_TAIL = 3  # sigmas of a Gaussian that count
_STRIP = 64  # px that are smoothed at a time


def feathered_mask(mask: Tensor, dilation: float = DILATION, feather: float = FEATHER) -> Tensor:
    """[B, 1, H, W] in 0..1 -> the same, grown by ``dilation`` and smoothed by a Gaussian of sigma ``feather``.

    Both in pixels of a picture whose shorter side is 256 (2005.07727 takes 16 and 4). Where nothing was marked within
    reach the result is exactly 0.
    """
    scale = min(mask.shape[2:]) / 256
    radius, sigma = round(dilation * scale), feather * scale
    part = marked(mask)
    result = torch.zeros_like(mask)
    if part is not None:  # beyond its reach there is nothing to grow or to smooth
        part = part.grown(radius + math.ceil(_TAIL * sigma))
        part.of(result).copy_(_smoothed(dilated(part.of(mask), radius), sigma))
    return result


def blend_linear(photo: Tensor, painted: Tensor, mask: Tensor) -> Tensor:
    """m painted + (1 - m) photo, [B, 3, H, W] with m [B or 1, 1, H, W]; exact where m is 0 or 1."""
    _check(photo, painted, mask)
    return torch.lerp(photo, painted, mask.to(photo).expand_as(photo))


def blend_laplacian(photo: Tensor, painted: Tensor, mask: Tensor, levels: int | None = None) -> Tensor:
    """Burt and Adelson's multi-resolution spline: each band of frequencies is mixed over a seam of its own width.

    ``levels`` defaults to as many as leave 8 pixels. Coarse bands reach beyond the mask: that is the method.
    """
    _check(photo, painted, mask)
    if levels is None:
        levels = max(1, int(math.log2(min(photo.shape[2:]) / 8)))
    mask = mask.to(photo).expand(len(photo), -1, -1, -1)
    sizes, bands = [], []
    for _ in range(levels):
        sizes.append(tuple(photo.shape[2:]))
        smaller = [_halved(picture) for picture in (photo, painted, mask)]
        ours, theirs = (
            picture - _enlarged(small, sizes[-1]) for picture, small in ((photo, smaller[0]), (painted, smaller[1]))
        )
        bands.append(torch.lerp(ours, theirs, mask.expand_as(ours)))
        photo, painted, mask = smaller
    result = torch.lerp(photo, painted, mask.expand_as(photo))
    for size, band in zip(reversed(sizes), reversed(bands), strict=True):
        result = _enlarged(result, size) + band
    return result


def blend_poisson(photo: Tensor, painted: Tensor, mask: Tensor) -> Tensor:
    """Perez, Gangnet and Blake's seamless cloning: the painted region's gradients, the photo's colours at its border.

    Inside the region (m >= 0.5) the result is painted + c with c harmonic, and c = photo - painted just outside of it;
    the picture's own frame is free. A mask without any pixel outside leaves nothing to join: the painted picture.
    """
    _check(photo, painted, mask)
    inside = (mask.to(photo) >= 0.5).to(photo).expand(len(photo), 1, -1, -1)
    correction = harmonic((photo - painted) * (1 - inside), inside)
    return torch.where(inside > 0, painted + correction, photo)


def harmonic(border: Tensor, inside: Tensor) -> Tensor:
    """[B, 3, H, W]: ``border`` where ``inside`` [B, 1, H, W] is 0, and its harmonic continuation where it is 1.

    Conjugate gradients, started from the answer at half the size, which has the slow part of it.
    """
    height, width = inside.shape[2:]
    start = torch.zeros_like(border)
    if min(height, width) > _COARSEST:
        outside = _pooled(1 - inside)
        coarse = _pooled(border) / outside.clamp(min=1e-6)
        start = _enlarged(harmonic(coarse, (outside == 0).to(inside)), (height, width)) * inside
    # Neighbours that exist: pixels at the frame have fewer.
    degree = _neighbours(torch.ones_like(inside))
    # Without a pixel outside nothing says where to begin: the answer is 0.
    reachable = (inside.amin(dim=(1, 2, 3), keepdim=True) < 0.5).to(border)
    found = start * reachable
    residual = (_neighbours(border) - degree * found + _neighbours(found)) * inside * reachable
    step = residual / degree
    descent, energy = step, (residual * step).sum(dim=(1, 2, 3), keepdim=True)
    scale = (border.square() * (_neighbours(inside) > 0)).sum(dim=(1, 2, 3), keepdim=True)
    goal = scale * _TOLERANCE**2
    for _ in range(_MOST_STEPS):
        if bool((energy <= goal).all()):
            break
        pushed = (degree * descent - _neighbours(descent)) * inside
        length = energy / (descent * pushed).sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
        found = found + length * descent
        residual = residual - length * pushed
        step = residual / degree
        before, energy = energy, (residual * step).sum(dim=(1, 2, 3), keepdim=True)
        descent = step + (energy / before.clamp(min=1e-30)) * descent
    return torch.where(inside > 0, found, border)


BLENDS = {"linear": blend_linear, "laplacian": blend_laplacian, "poisson": blend_poisson}


def blend(photo: Tensor, painted: Tensor, mask: Tensor, method: str = "linear") -> Tensor:
    """One of `BLENDS` by name, clamped to -1..1. Raises InputError for another name."""
    if method not in BLENDS:
        raise InputError(f"Unknown blending '{method}'; expected one of {', '.join(BLENDS)}.")
    return BLENDS[method](photo, painted, mask).clamp(-1, 1)


def _check(photo: Tensor, painted: Tensor, mask: Tensor) -> None:
    if photo.ndim != 4 or photo.shape != painted.shape:
        raise InputError(
            f"The photo has shape {list(photo.shape)}, the painted picture {list(painted.shape)}; they must be equal."
        )
    fits = mask.ndim == 4 and mask.shape[0] in (1, len(photo)) and mask.shape[1] == 1
    if not fits or mask.shape[2:] != photo.shape[2:]:
        raise InputError(
            f"A mask of shape {list(mask.shape)} does not fit pictures {list(photo.shape)}; expected [B or 1, 1, H, W]."
        )


def dilated(mask: Tensor, radius: int) -> Tensor:
    """[B, 1, H, W] grown by a disk: the largest value within ``radius`` pixels."""
    if radius < 1:
        return mask
    height, width = mask.shape[2:]
    runs = [F.pad(mask, (radius,) * 4)]  # the largest of 1, 2, 4, ... neighbours from each place on
    while 2 ** len(runs) <= 2 * radius + 1:
        step = 2 ** (len(runs) - 1)
        runs.append(torch.maximum(runs[-1][..., :-step], runs[-1][..., step:]))
    grown = mask
    for dy in range(radius + 1):
        half = math.isqrt(radius * radius - dy * dy)
        power = (2 * half + 1).bit_length() - 1  # two runs of so many neighbours cover the disk's row
        left, right = radius - half, radius + half + 1 - 2**power
        rows = torch.maximum(runs[power][..., left : left + width], runs[power][..., right : right + width])
        for top in {radius - dy, radius + dy}:
            grown = torch.maximum(grown, rows[:, :, top : top + height])
    return grown


def _smoothed(mask: Tensor, sigma: float) -> Tensor:
    if sigma < 0.1:
        return mask
    radius = math.ceil(_TAIL * sigma)
    at = torch.arange(-radius, radius + 1, device=mask.device, dtype=mask.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = kernel / kernel.sum()
    # Strips of a row at a time, times a band of the kernel: a convolution of one channel by a long one is far slower.
    band = F.pad(kernel, (_STRIP - 1, _STRIP - 1)).unfold(0, _STRIP, 1).flip(1)  # [pixels with margins, pixels]
    for _ in range(2):
        width = mask.shape[3]
        padded = F.pad(F.pad(mask, (radius, radius, 0, 0), mode="replicate"), (0, -width % _STRIP))
        strips = padded.unfold(3, len(band), _STRIP)  # [B, 1, H, strips, pixels]
        smooth = torch.mm(strips.reshape(-1, len(band)), band).unflatten(0, strips.shape[:4])
        mask = smooth.flatten(3)[..., :width].transpose(2, 3)
    return mask.clamp(0, 1)


def _neighbours(x: Tensor) -> Tensor:
    """The sum of the four neighbours, of those that exist."""
    padded = F.pad(x, (1, 1, 1, 1))
    return padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:] + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]


def _pooled(x: Tensor) -> Tensor:
    """The mean of 2 x 2 pixels; an odd last row or column stands for itself."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _halved(picture: Tensor) -> Tensor:
    height, width = ((side + 1) // 2 for side in picture.shape[2:])
    return F.interpolate(picture, (height, width), mode="bilinear", antialias=True, align_corners=False)


def _enlarged(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(picture, size, mode="bilinear", align_corners=False)
