"""Reconstruction losses between a generated portrait and the render it should be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ...demo.portraits.scene import PART_NAMES
from ...demo.readers import PortraitReader

# Small parts decide whether a face reads as a face, and cover too few pixels to count on their own.
_DETAILS = ("eyes", "mouth", "glasses", "brows")
_DETAIL_WEIGHT = 5.0
_EDGE_FLOOR = 1e-4  # keeps the root's slope finite on even areas
_FEATURE_WEIGHTS = (0.25, 0.5, 0.5, 0.5)


def detail_weights(parts: Tensor) -> Tensor:
    """Turn part masks ``[B, P, H, W]`` into pixel weights ``[B, 1, H, W]`` from 1 to 6."""
    indices = [PART_NAMES.index(name) for name in _DETAILS]
    return 1 + _DETAIL_WEIGHT * parts[:, indices].sum(1, keepdim=True)


def picture_loss(images: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted absolute, squared and gradient errors, and absolute errors of two coarser scales.

    Args:
        images: ``[B, 3, H, W]`` in -1..1.
        targets: like ``images``.
        weights: ``[B, 1, H, W]``, of `detail_weights`.

    Returns:
        A scalar.
    """
    error = images - targets
    coarse = F.avg_pool2d(error, 2)
    coarser = F.avg_pool2d(coarse, 2)
    dx, dy = error.diff(dim=-1), error.diff(dim=-2)
    return (
        0.5 * (error.abs() * weights).mean()
        + 2.0 * (error.square() * weights).mean()
        + 0.25 * ((dx.abs() * weights[..., 1:]).mean() + (dy.abs() * weights[..., 1:, :]).mean())
        + 0.5 * coarse.abs().mean()
        + 0.5 * coarser.abs().mean()
    )


def energy_loss(images: Tensor, targets: Tensor) -> Tensor:
    """Compare how strong edges are, wherever exactly they lie: root mean square differences of 4 x 4 pixels.

    A pixel's error is least where an uncertain edge is painted faintly; this is not.

    Args:
        images: ``[B, 3, H, W]`` in -1..1.
        targets: like ``images``.

    Returns:
        A scalar.
    """
    return (_edge_strength(images) - _edge_strength(targets)).abs().mean()


def _edge_strength(images: Tensor) -> Tensor:
    across = images.diff(dim=-1).square()[..., 1:, :]
    down = images.diff(dim=-2).square()[..., 1:]
    return (F.avg_pool2d(across + down, 4) + _EDGE_FLOOR).sqrt()


def feature_loss(reader: PortraitReader, images: Tensor, targets: Tensor) -> Tensor:
    """Sum the squared distances of the reader's four feature levels, each divided by its variance.

    Args:
        reader: frozen.
        images: ``[B, 3, H, W]`` in -1..1, with gradients.
        targets: like ``images``, without.

    Returns:
        A scalar.
    """
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            target_features = reader.features(targets)
        image_features = reader.features(images)
    terms = [
        weight * (a.float() - b.float()).square().mean() / b.float().var().clamp(min=0.02)
        for weight, a, b in zip(_FEATURE_WEIGHTS, image_features, target_features, strict=True)
    ]
    return torch.stack(terms).sum()
