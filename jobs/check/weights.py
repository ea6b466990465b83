"""Random weights: do a network's layers still look as they were drawn?

A freshly drawn matrix [m, n] of independent numbers has no singular value far beyond std (sqrt m + sqrt n), the edge of
Marchenko and Pastur's law, and the excess kurtosis of a normal or a uniform distribution, 0 or -6/5. Training leaves
directions that stand out, and heavy tails: in most layers of a large network, in a third of those of a small one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LOOKS_RANDOM", "random_share"]

LOOKS_RANDOM = 0.9  # share of the layers from which on a network is called random
_FEWEST = 512  # numbers of a layer that say something
_LAYERS = 48  # that are looked at, evenly over the network
_ITERATIONS = 30  # of the power method
_EDGE = 1.5  # times min(m, n)^(-2/3): some four times what the largest singular value scatters by
_DRAWN = (0.0, -1.2)  # excess kurtosis of a normal and of a uniform distribution
_SURE = 4.0  # standard errors
_ROUNDING = 0.02


def random_share(*networks: nn.Module) -> float:
    """Return the share of the large layers of networks that look freshly drawn, 0..1; 0 without such layers."""
    weights = [
        weight.detach()
        for network in networks
        for weight in network.parameters()
        if weight.ndim > 1 and weight.numel() >= _FEWEST and bool(weight.detach().float().std() > 0)
    ]
    chosen = weights[:: max(1, -(-len(weights) // _LAYERS))]
    return sum(_looks_drawn(weight) for weight in chosen) / len(chosen) if chosen else 0.0


def _looks_drawn(weight: Tensor) -> bool:
    matrix = weight.flatten(1).float().cpu()
    matrix = matrix - matrix.mean()
    variance = matrix.square().mean()
    kurtosis = float(matrix.pow(4).mean() / variance.square()) - 3
    error = _SURE * (24 / matrix.numel()) ** 0.5 + _ROUNDING
    edge = float(variance.sqrt()) * sum(side**0.5 for side in matrix.shape)
    beyond = 1 + _EDGE * min(matrix.shape) ** (-2 / 3)
    return any(abs(kurtosis - drawn) < error for drawn in _DRAWN) and _largest_singular_value(matrix) < beyond * edge


def _largest_singular_value(matrix: Tensor) -> float:
    vector = torch.randn(matrix.shape[1], generator=torch.Generator().manual_seed(0))
    for _ in range(_ITERATIONS):
        vector = torch.nn.functional.normalize(matrix.t() @ (matrix @ vector), dim=0)
    return float((matrix @ vector).norm())
