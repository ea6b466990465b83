"""How alike two pictures look, without a downloaded network: structural similarity and edges over a pyramid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_C1, _C2 = 0.01**2 * 4, 0.03**2 * 4  # SSIM's constants for pictures of range 2 (-1..1)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB per picture, [B, 3, H, W] in -1..1 -> [B]; values outside are clamped first."""
    error = (x.clamp(-1, 1) - y.clamp(-1, 1)).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4.0 / error.clamp(min=1e-12))


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
    total = x.new_zeros(x.shape[0])
    used = 0
    for level in range(levels):
        if min(x.shape[2:]) < 8:
            break
        total = total + _mean(0.5 * _dissimilarity(x, y), weight) + _edges(x, y, weight)
        used += 1
        if level + 1 < levels:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            weight = None if weight is None else F.avg_pool2d(weight, 2)
    return total / max(used, 1)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean per picture, weighted where a weight is given (resized by the caller)."""
    if weight is None:
        return values.mean(dim=(1, 2, 3))
    weight = weight[..., : values.shape[2], : values.shape[3]].expand(values.shape[0], 1, *values.shape[2:])
    return (values * weight).sum(dim=(1, 2, 3)) / (weight.sum(dim=(1, 2, 3)) * values.shape[1]).clamp(min=1e-6)


def _dissimilarity(x: Tensor, y: Tensor) -> Tensor:
    """1 - SSIM at every pixel, per channel."""
    both = torch.cat([x, y, x * x, y * y, x * y], dim=1)
    mx, my, xx, yy, xy = F.avg_pool2d(both, 7, stride=1, padding=3, count_include_pad=False).chunk(5, dim=1)
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    ssim = ((2 * mx * my + _C1) * (2 * cov + _C2)) / ((mx * mx + my * my + _C1) * (vx + vy + _C2))
    return 1 - ssim


def _edges(x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    d = x - y
    across, down = (d[..., 1:] - d[..., :-1]).abs(), (d[..., 1:, :] - d[..., :-1, :]).abs()
    return _mean(across, weight) + _mean(down, weight)
