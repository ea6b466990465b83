"""How alike two pictures look, without a downloaded network: structural similarity and edges over a pyramid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_C1, _C2 = 0.01**2 * 4, 0.03**2 * 4  # SSIM's constants for pictures of range 2 (-1..1)
_WINDOW = 7


def psnr(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """Compute the peak signal-to-noise ratio of each picture.

    Args:
        x, y: [B, 3, H, W] in -1..1; values outside are clamped first.
        weight: [B, 1, H, W] in 0..1, where pixels count; None: everywhere.

    Returns:
        [B] dB.
    """
    error = (x.clamp(-1, 1) - y.clamp(-1, 1)).square()
    if weight is None:
        mse = error.mean(dim=(1, 2, 3))
    else:
        mse = (error * weight).sum(dim=(1, 2, 3)) / (3 * weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)
    return 10 * torch.log10(4.0 / mse.clamp(min=1e-12))


@dataclass(frozen=True, eq=False)
class _Level:
    """One size of a picture that others are compared with: itself, and the windows' means of it and of its square."""

    picture: Tensor  # [B, 3, h, w]
    mean: Tensor
    square: Tensor
    weight: Tensor | None


@dataclass(frozen=True, eq=False)
class SSIMTarget:
    """What `perceptual_distance` needs of a picture that stays, while others are compared with it again and again."""

    levels: tuple[_Level, ...]

    @classmethod
    def from_images(cls, y: Tensor, weight: Tensor | None = None, levels: int = 3) -> SSIMTarget:
        """Of pictures [B, 3, H, W] in -1..1, and where they have to agree, [B or 1, 1, H, W] in 0..1."""
        found: list[_Level] = []
        for level in range(levels):
            if min(y.shape[2:]) < 8:
                break
            if level:
                weight = None if weight is None else F.avg_pool2d(weight, 2)
            found.append(_Level(y, *_windows(torch.cat([y, y * y], dim=1)).chunk(2, dim=1), weight))
            y = F.avg_pool2d(y, 2)
        return cls(tuple(found))

    def distance(self, x: Tensor) -> Tensor:
        """[B]: `perceptual_distance` of pictures [B, 3, H, W] from these."""
        total = x.new_zeros(x.shape[0])
        for k, level in enumerate(self.levels):
            x = F.avg_pool2d(x, 2) if k else x
            total = total + _mean(0.5 * _dissimilarity(x, level), level.weight) + _edges(x, level)
        return total / max(len(self.levels), 1)


def perceptual_distance(
    x: Tensor,  # [B, 3, H, W] in -1..1
    y: Tensor,
    weight: Tensor | None = None,  # [B or 1, 1, H, W] in 0..1: where pictures have to agree
    levels: int = 3,
) -> Tensor:
    """[B], 0 for equal pictures: structural dissimilarity plus L1 of edges, averaged over a pyramid.

    Structure (Wang et al. 2004, window 7) keeps edges and textures in place where a squared error would blur them,
    and its coarse levels pull features over distances larger than a window.
    """
    return SSIMTarget.from_images(y, weight, levels).distance(x)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean per picture, weighted where a weight is given (resized by the caller)."""
    if weight is None:
        return values.mean(dim=(1, 2, 3))
    weight = weight[..., : values.shape[2], : values.shape[3]].expand(values.shape[0], 1, *values.shape[2:])
    return (values * weight).sum(dim=(1, 2, 3)) / (weight.sum(dim=(1, 2, 3)) * values.shape[1]).clamp(min=1e-6)


def _dissimilarity(x: Tensor, level: _Level) -> Tensor:
    """1 - SSIM at every pixel, per channel."""
    mx, xx, xy = _windows(torch.cat([x, x * x, x * level.picture], dim=1)).chunk(3, dim=1)
    my, yy = level.mean, level.square
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    ssim = ((2 * mx * my + _C1) * (2 * cov + _C2)) / ((mx * mx + my * my + _C1) * (vx + vy + _C2))
    return 1 - ssim


def _windows(x: Tensor) -> Tensor:
    """The mean of each window, of those of its places that the picture has; same size."""
    if x.device.type != "cpu" or x.dtype != torch.float32:  # convolutions on a GPU may round their input
        return F.avg_pool2d(x, _WINDOW, stride=1, padding=_WINDOW // 2, count_include_pad=False)
    # Ten times faster than the pooling on a CPU, and equal but for rounding.
    ones = x.new_ones(1, 1, _WINDOW, _WINDOW)
    places = F.conv2d(x.new_ones(1, 1, *x.shape[2:]), ones, padding=_WINDOW // 2)
    return F.conv2d(x, ones.expand(x.shape[1], -1, -1, -1), padding=_WINDOW // 2, groups=x.shape[1]) / places


def _edges(x: Tensor, level: _Level) -> Tensor:
    d = x - level.picture
    across, down = (d[..., 1:] - d[..., :-1]).abs(), (d[..., 1:, :] - d[..., :-1, :]).abs()
    return _mean(across, level.weight) + _mean(down, level.weight)
