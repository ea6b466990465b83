"""PSNR, and multi-scale structural similarity with edges: image likeness without a downloaded network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_C1, _C2 = 0.01**2 * 4, 0.03**2 * 4  # SSIM's constants for pictures of range 2 (-1..1)
_WINDOW = 7
_COARSEST = 32  # px: the smaller side of a pyramid's last level, of which a window is a fifth


def psnr(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Compute the peak signal-to-noise ratio in dB per picture.

    Args:
        x, y: [B, C, H, W] in -1..1; values outside are clamped first.
        weight: [B or 1, 1, H, W] in 0..1, where pictures are compared; None: everywhere.

    Returns:
        [B], at most 126 for equal pictures.
    """
    squares = (x.clamp(-1, 1) - y.clamp(-1, 1)).square()
    if weight is None:
        error = squares.mean(dim=(1, 2, 3))
    else:
        pixels = (x.shape[1] * weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)
        error = (squares * weight).sum(dim=(1, 2, 3)) / pixels
    return 10 * torch.log10(4.0 / error.clamp(min=1e-12))


@dataclass(frozen=True, eq=False)
class _Level:
    """One level of the pyramid of a picture that others are compared with."""

    picture: Tensor  # [B, 3, h, w]
    mean: Tensor  # [B, 3, h, w], of each window
    square_mean: Tensor  # [B, 3, h, w], of the squares in each window
    weight: Tensor | None  # [B or 1, 1, h, w]


@dataclass(frozen=True, eq=False)
class SSIMTarget:
    """The pictures that others are compared with by `perceptual_distance`, again and again: their share of the work."""

    levels: tuple[_Level, ...]

    @classmethod
    def from_images(cls, y: Tensor, weight: Tensor | None = None, levels: int | None = None) -> SSIMTarget:
        """Compute the pyramid of pictures.

        Args:
            y: [B, 3, H, W] in -1..1.
            weight: [B or 1, 1, H, W] in 0..1, where pictures have to agree; None: everywhere.
            levels: of the pyramid, at most; those below 8 pixels are left out. None: down to 32 pixels whatever the
                size, so that the coarsest windows see the same share of every picture.
        """
        levels = 1 + max(0, int(math.log2(min(y.shape[2:]) / _COARSEST))) if levels is None else levels
        pyramid: list[_Level] = []
        for level in range(levels):
            if min(y.shape[2:]) < 8:
                break
            if level:
                weight = None if weight is None else F.avg_pool2d(weight, 2)
            pyramid.append(_Level(y, *_window_means(torch.cat([y, y * y], dim=1)).chunk(2, dim=1), weight))
            y = F.avg_pool2d(y, 2)
        return cls(tuple(pyramid))

    def distance(self, x: Tensor) -> Tensor:
        """Compute `perceptual_distance` [B] of pictures x [B, 3, H, W] from these."""
        total = x.new_zeros(x.shape[0])
        for k, level in enumerate(self.levels):
            x = F.avg_pool2d(x, 2) if k else x
            total = total + _mean(0.5 * _dissimilarity(x, level), level.weight) + _edge_distance(x, level)
        return total / max(len(self.levels), 1)


def perceptual_distance(
    x: Tensor,  # [B, 3, H, W] in -1..1
    y: Tensor,
    weight: Tensor | None = None,  # [B or 1, 1, H, W] in 0..1: where pictures have to agree
    levels: int | None = None,  # as of `SSIMTarget.from_images`
) -> Tensor:
    """Compute structural dissimilarity plus L1 of edges, averaged over a pyramid: [B], 0 for equal pictures.

    Structure (Wang et al. 2004, window 7) keeps edges and textures in place where a squared error would blur them,
    and its coarse levels pull features over distances larger than a window.
    """
    return SSIMTarget.from_images(y, weight, levels).distance(x)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Average [B, C, h, w] per picture -> [B], weighted where there is a weight (cropped to the values)."""
    if weight is None:
        return values.mean(dim=(1, 2, 3))
    weight = weight[..., : values.shape[2], : values.shape[3]].expand(values.shape[0], 1, *values.shape[2:])
    return (values * weight).sum(dim=(1, 2, 3)) / (weight.sum(dim=(1, 2, 3)) * values.shape[1]).clamp(min=1e-6)


def _dissimilarity(x: Tensor, level: _Level) -> Tensor:
    """Compute 1 - SSIM (Wang et al. 2004, Eq. 13) at every pixel and channel, [B, 3, h, w]."""
    mx, xx, xy = _window_means(torch.cat([x, x * x, x * level.picture], dim=1)).chunk(3, dim=1)
    my, yy = level.mean, level.square_mean
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    ssim = ((2 * mx * my + _C1) * (2 * cov + _C2)) / ((mx * mx + my * my + _C1) * (vx + vy + _C2))
    return 1 - ssim


def _window_means(x: Tensor) -> Tensor:
    """Average each window of [B, C, h, w] over those of its pixels that the picture has; same size."""
    if x.device.type != "cpu" or x.dtype != torch.float32:  # convolutions on a GPU may round their input
        return F.avg_pool2d(x, _WINDOW, stride=1, padding=_WINDOW // 2, count_include_pad=False)
    # Ten times faster than the pooling on a CPU, and equal but for rounding.
    ones = x.new_ones(1, 1, _WINDOW, _WINDOW)
    counts = F.conv2d(x.new_ones(1, 1, *x.shape[2:]), ones, padding=_WINDOW // 2)
    return F.conv2d(x, ones.expand(x.shape[1], -1, -1, -1), padding=_WINDOW // 2, groups=x.shape[1]) / counts


def _edge_distance(x: Tensor, level: _Level) -> Tensor:
    """Compute the L1 of the differences between neighbouring pixels, along both axes: [B]."""
    error = x - level.picture
    horizontal = (error[..., 1:] - error[..., :-1]).abs()
    vertical = (error[..., 1:, :] - error[..., :-1, :]).abs()
    return _mean(horizontal, level.weight) + _mean(vertical, level.weight)
