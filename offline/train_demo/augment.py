"""Disturbances that a reader of portraits has to see through."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def some(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A random choice ``[B, 1, 1, 1]`` of the given share of a batch."""
    return torch.rand(len(images), 1, 1, 1, generator=generator) < share


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``[B, C, H, W]``."""
    radius = max(1, round(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).to(images) / sigma) ** 2)
    taps = (taps / taps.sum()).expand(images.shape[1], 1, 1, -1)
    images = F.pad(images, (radius,) * 4, mode="replicate")
    images = F.conv2d(images, taps, groups=images.shape[1])
    return F.conv2d(images, taps.transpose(2, 3), groups=images.shape[1])


def light_disturbance(images: Tensor, generator: torch.Generator) -> Tensor:
    """A little noise and sometimes a 3 x 3 mean: what the perceptual features are trained under."""
    level = 0.03 * torch.randn(len(images), 1, 1, 1, generator=generator).abs()
    images = images + level * torch.randn(images.shape, generator=generator)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.where(some(images, 0.3, generator), soft, images)


def heavy_disturbance(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, coarse resampling, noise, changed brightness and contrast, and a pasted patch: for oracle and identity."""
    images = torch.where(some(images, 0.3, generator), blur(images, 0.4 + 0.9 * _number(generator)), images)
    side = images.shape[-1]
    coarse = F.interpolate(images, (side * 5 // 8, side * 5 // 8), mode="bilinear", antialias=True)
    coarse = F.interpolate(coarse, (side, side), mode="bilinear")
    images = torch.where(some(images, 0.15, generator), coarse, images)
    contrast = 1 + 0.10 * torch.randn(len(images), 1, 1, 1, generator=generator)
    brightness = 0.05 * torch.randn(len(images), 3, 1, 1, generator=generator)
    images = torch.where(some(images, 0.5, generator), images * contrast + brightness, images)
    level = torch.where(some(images, 0.5, generator), torch.rand(len(images), 1, 1, 1, generator=generator) * 0.15, 0)
    images = images + level * torch.randn(images.shape, generator=generator)
    return shifted(images, generator).clamp(-1, 1)


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Moved by up to one pixel each way, the whole batch alike."""
    dx, dy = (int(torch.randint(-1, 2, (), generator=generator)) for _ in range(2))
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    height, width = images.shape[-2:]
    return padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def _number(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
