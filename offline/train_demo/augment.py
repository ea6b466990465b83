"""Augmentations: disturbances that a reader of portraits has to see through."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...editing.common.filters import gaussian_blur


def random_subset(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw which pictures of a batch ``[B, ...]`` are in a subset of that share: bool ``[B, 1, 1, 1]``."""
    return torch.rand(len(images), 1, 1, 1, generator=generator) < share


def light_disturbance(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add a little noise and sometimes a 3 x 3 mean to ``[B, 3, H, W]``, for training the perceptual features."""
    level = 0.03 * torch.randn(len(images), 1, 1, 1, generator=generator).abs()
    images = images + level * torch.randn(images.shape, generator=generator)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.where(random_subset(images, 0.3, generator), soft, images)


def heavy_disturbance(images: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, resample coarsely, change contrast, add noise and shift ``[B, 3, H, W]``: for oracle and identity."""
    subset = random_subset(images, 0.3, generator)
    images = torch.where(subset, gaussian_blur(images, 0.4 + 0.9 * _number(generator), "replicate"), images)
    size = images.shape[-1]
    coarse = F.interpolate(images, (size * 5 // 8, size * 5 // 8), mode="bilinear", antialias=True)
    coarse = F.interpolate(coarse, (size, size), mode="bilinear")
    images = torch.where(random_subset(images, 0.15, generator), coarse, images)
    contrast = 1 + 0.10 * torch.randn(len(images), 1, 1, 1, generator=generator)
    brightness = 0.05 * torch.randn(len(images), 3, 1, 1, generator=generator)
    images = torch.where(random_subset(images, 0.5, generator), images * contrast + brightness, images)
    level = torch.where(
        random_subset(images, 0.5, generator), torch.rand(len(images), 1, 1, 1, generator=generator) * 0.15, 0
    )
    images = images + level * torch.randn(images.shape, generator=generator)
    return random_shift(images, generator).clamp(-1, 1)


def random_shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift ``[B, C, H, W]`` by up to one pixel each way, the whole batch alike."""
    dx, dy = (int(torch.randint(-1, 2, (), generator=generator)) for _ in range(2))
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    height, width = images.shape[-2:]
    return padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


def _number(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
