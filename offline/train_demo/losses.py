"""How far a generated portrait is from the render it should be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...demo.portraits.scene import PART_NAMES
from ...demo.readers import PortraitReader

# Small parts decide whether a face reads as a face, and cover too few pixels to count on their own.
_DETAILS = ("eyes", "mouth", "glasses", "brows")
_DETAIL_WEIGHT = 5.0
_FEATURE_WEIGHTS = (0.25, 0.5, 0.5, 0.5)


def detail_weights(parts: Tensor) -> Tensor:
    """Part masks ``[B, P, H, W]`` to pixel weights ``[B, 1, H, W]`` from 1 to 6."""
    chosen = [PART_NAMES.index(name) for name in _DETAILS]
    return 1 + _DETAIL_WEIGHT * parts[:, chosen].sum(1, keepdim=True)


def picture_loss(images: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted absolute, squared and gradient errors, and absolute errors of two coarser scales."""
    error = images - targets
    coarse = F.avg_pool2d(error, 2)
    coarser = F.avg_pool2d(coarse, 2)
    across, down = error.diff(dim=-1), error.diff(dim=-2)
    return (
        0.5 * (error.abs() * weights).mean()
        + 2.0 * (error.square() * weights).mean()
        + 0.25 * ((across.abs() * weights[..., 1:]).mean() + (down.abs() * weights[..., 1:, :]).mean())
        + 0.5 * coarse.abs().mean()
        + 0.5 * coarser.abs().mean()
    )


def feature_loss(reader: PortraitReader, images: Tensor, targets: Tensor) -> Tensor:
    """Squared distance of the reader's four feature levels, each divided by its variance."""
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            wanted = reader.features(targets)
        seen = reader.features(images)
    terms = [
        weight * (a.float() - b.float()).square().mean() / b.float().var().clamp(min=0.02)
        for weight, a, b in zip(_FEATURE_WEIGHTS, seen, wanted, strict=True)
    ]
    return torch.stack(terms).sum()
