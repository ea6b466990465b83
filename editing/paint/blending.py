"""Blending a painted region into its photo: a feathered linear mix, and the two classical ways to compare it with.

All three take the photo, the painted picture and a mask; but for the Laplacian pyramid, every pixel that the mask does
not reach stays as the photo has it. Sizes in pixels are given for pictures of 256 and scale with the shorter side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.crop_box import bounding_box
from ..common.filters import gaussian_blur

__all__ = [
    "BLENDS",
    "blend",
    "blend_laplacian",
    "blend_linear",
    "blend_poisson",
    "dilated",
    "feathered_mask",
    "solve_laplace",
]

DILATION = 16.0  # px at 256
FEATHER = 4.0  # px at 256, sigma
_TOLERANCE = 3e-4  # of the step at the seam: what is left is below a grey level
_MAX_STEPS = 2000
_COARSEST = 16  # px
_TAIL = 3  # sigmas of a Gaussian that count


def feathered_mask(mask: Tensor, dilation: float = DILATION, feather: float = FEATHER) -> Tensor:
    """Grow a mask by a disk, and smooth it by a Gaussian (2005.07727 takes 16 and 4 pixels).

    Args:
        mask: [B, 1, H, W] in 0..1.
        dilation: radius of the disk, in pixels of a picture whose shorter side is 256.
        feather: sigma of the Gaussian, in the same pixels.

    Returns:
        [B, 1, H, W] in 0..1, exactly 0 where nothing is marked within reach.
    """
    scale = min(mask.shape[2:]) / 256
    radius, sigma = round(dilation * scale), feather * scale
    result = torch.zeros_like(mask)
    box = bounding_box(mask)
    if box is not None:  # beyond its reach there is nothing to grow or to smooth
        box = box.expand(radius + math.ceil(_TAIL * sigma))
        smooth = gaussian_blur(dilated(box.crop(mask), radius), sigma, "replicate")
        box.crop(result).copy_(smooth.clamp(0, 1))
    return result


def blend_linear(photo: Tensor, painted: Tensor, mask: Tensor) -> Tensor:
    """Mix linearly: m painted + (1 - m) photo, exact where m is 0 or 1.

    Args:
        photo: [B, 3, H, W].
        painted: [B, 3, H, W].
        mask: m, [B or 1, 1, H, W] in 0..1.

    Returns:
        [B, 3, H, W].

    Raises:
        InputError: shapes that do not fit one another.
    """
    _check(photo, painted, mask)
    return torch.lerp(photo, painted, mask.to(photo).expand_as(photo))


def blend_laplacian(photo: Tensor, painted: Tensor, mask: Tensor, levels: int | None = None) -> Tensor:
    """Blend by Burt and Adelson's multi-resolution spline: each band of frequencies over a seam of its own width.

    Coarse bands reach beyond the mask: that is the method.

    Args:
        photo: [B, 3, H, W].
        painted: [B, 3, H, W].
        mask: [B or 1, 1, H, W] in 0..1.
        levels: of the pyramid; None: as many as leave 8 pixels.

    Returns:
        [B, 3, H, W].

    Raises:
        InputError: shapes that do not fit one another.
    """
    _check(photo, painted, mask)
    if levels is None:
        levels = max(1, int(math.log2(min(photo.shape[2:]) / 8)))
    mask = mask.to(photo).expand(len(photo), -1, -1, -1)
    bands = []
    for _ in range(levels):
        size = tuple(photo.shape[2:])
        small_photo, small_painted, small_mask = _halved(photo), _halved(painted), _halved(mask)
        photo_band, painted_band = photo - _enlarged(small_photo, size), painted - _enlarged(small_painted, size)
        bands.append(torch.lerp(photo_band, painted_band, mask.expand_as(photo_band)))
        photo, painted, mask = small_photo, small_painted, small_mask
    result = torch.lerp(photo, painted, mask.expand_as(photo))
    for band in reversed(bands):
        result = _enlarged(result, tuple(band.shape[2:])) + band
    return result


def blend_poisson(photo: Tensor, painted: Tensor, mask: Tensor) -> Tensor:
    """Clone seamlessly (Perez, Gangnet and Blake 2003): the painted gradients, the photo's colours at the border.

    Inside the region (m >= 0.5) the result is painted + c with c harmonic, and c = photo - painted just outside of it;
    the picture's own frame is free. A mask without any pixel outside leaves nothing to join: the painted picture.

    Args:
        photo: [B, 3, H, W].
        painted: [B, 3, H, W].
        mask: m, [B or 1, 1, H, W] in 0..1.

    Returns:
        [B, 3, H, W].

    Raises:
        InputError: shapes that do not fit one another.
    """
    _check(photo, painted, mask)
    inside = (mask.to(photo) >= 0.5).to(photo).expand(len(photo), 1, -1, -1)
    correction = solve_laplace((photo - painted) * (1 - inside), inside)
    return torch.where(inside > 0, painted + correction, photo)


def solve_laplace(border: Tensor, inside: Tensor) -> Tensor:
    """Continue values into a region by Laplace's equation: each pixel is the mean of its neighbours.

    Conjugate gradients, started from the solution at half the size, which has the slow part of it.

    Args:
        border: [B, C, H, W], the values outside of the region.
        inside: [B, 1, H, W], 1 in the region, 0 elsewhere.

    Returns:
        [B, C, H, W]: ``border`` outside, its harmonic continuation inside; 0 where a picture has no outside.
    """
    degree = _neighbour_sum(torch.ones_like(inside))  # of neighbours that exist: pixels at the frame have fewer
    bounded = (inside.amin(dim=(1, 2, 3), keepdim=True) < 0.5).to(border)  # else nothing says where to begin
    solution = _coarse_solution(border, inside) * bounded
    residual = (_neighbour_sum(border) - degree * solution + _neighbour_sum(solution)) * inside * bounded
    preconditioned = residual / degree
    direction, energy = preconditioned, _picture_sum(residual * preconditioned)
    goal = _picture_sum(border.square() * (_neighbour_sum(inside) > 0)) * _TOLERANCE**2
    for _ in range(_MAX_STEPS):
        if bool((energy <= goal).all()):
            break
        product = (degree * direction - _neighbour_sum(direction)) * inside
        length = energy / _picture_sum(direction * product).clamp(min=1e-30)
        solution = solution + length * direction
        residual = residual - length * product
        preconditioned = residual / degree
        old_energy, energy = energy, _picture_sum(residual * preconditioned)
        direction = preconditioned + (energy / old_energy.clamp(min=1e-30)) * direction
    return torch.where(inside > 0, solution, border)


def _coarse_solution(border: Tensor, inside: Tensor) -> Tensor:
    """Return the solution at half the size, enlarged, [B, C, H, W]; 0 outside, and where half the size is too small."""
    size = tuple(inside.shape[2:])
    if min(size) <= _COARSEST:
        return torch.zeros_like(border)
    outside = _pooled(1 - inside)
    coarse = _pooled(border) / outside.clamp(min=1e-6)
    return _enlarged(solve_laplace(coarse, (outside == 0).to(inside)), size) * inside


BLENDS = {"linear": blend_linear, "laplacian": blend_laplacian, "poisson": blend_poisson}


def blend(photo: Tensor, painted: Tensor, mask: Tensor, method: str = "linear") -> Tensor:
    """Blend by one of `BLENDS`.

    Args:
        photo: [B, 3, H, W] in -1..1.
        painted: [B, 3, H, W] in -1..1.
        mask: [B or 1, 1, H, W] in 0..1.
        method: the name.

    Returns:
        [B, 3, H, W], clamped to -1..1.

    Raises:
        InputError: another name, or shapes that do not fit one another.
    """
    check_choice("blending", method, BLENDS)
    return BLENDS[method](photo, painted, mask).clamp(-1, 1)


def _check(photo: Tensor, painted: Tensor, mask: Tensor) -> None:
    """Raise InputError for shapes that do not fit one another."""
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
    """Grow a mask by a disk: the largest value within a radius.

    Args:
        mask: [B, 1, H, W].
        radius: in pixels.

    Returns:
        [B, 1, H, W].
    """
    if radius < 1:
        return mask
    height, width = mask.shape[2:]
    maxima = [F.pad(mask, (radius,) * 4)]  # the largest of 1, 2, 4, ... neighbours from each pixel on
    while 2 ** len(maxima) <= 2 * radius + 1:
        step = 2 ** (len(maxima) - 1)
        maxima.append(torch.maximum(maxima[-1][..., :-step], maxima[-1][..., step:]))
    grown = mask
    for dy in range(radius + 1):
        half = math.isqrt(radius * radius - dy * dy)
        power = (2 * half + 1).bit_length() - 1  # two runs of so many neighbours cover the disk's row
        left, right = radius - half, radius + half + 1 - 2**power
        rows = torch.maximum(maxima[power][..., left : left + width], maxima[power][..., right : right + width])
        for top in {radius - dy, radius + dy}:
            grown = torch.maximum(grown, rows[:, :, top : top + height])
    return grown


def _neighbour_sum(x: Tensor) -> Tensor:
    """Sum the four neighbours, those that exist, [B, C, H, W] -> [B, C, H, W]."""
    padded = F.pad(x, (1, 1, 1, 1))
    return padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:] + padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]


def _picture_sum(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, 1, 1, 1]."""
    return x.sum(dim=(1, 2, 3), keepdim=True)


def _pooled(x: Tensor) -> Tensor:
    """The mean of 2 x 2 pixels; an odd last row or column stands for itself."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _halved(picture: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, H / 2, W / 2], rounded up."""
    height, width = ((length + 1) // 2 for length in picture.shape[2:])
    return F.interpolate(picture, (height, width), mode="bilinear", antialias=True, align_corners=False)


def _enlarged(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, h, w] -> [B, C, *size]."""
    return F.interpolate(picture, size, mode="bilinear", align_corners=False)
