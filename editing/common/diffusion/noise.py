"""The noise of one training step: stratified levels and antithetic draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ....models.errors import InputError
from .denoiser import Denoiser

__all__ = ["NoiseBatch", "check_levels", "draw_noise"]


@dataclass(frozen=True, eq=False)
class NoiseBatch:
    """The noise of one step: sigma [B] and noise [B, C, h, w]."""

    sigma: Tensor
    noise: Tensor

    def split(self, size: int) -> Iterator[NoiseBatch]:
        """Yield the same draws, at most ``size`` at a time."""
        for first in range(0, len(self.sigma), size):
            yield NoiseBatch(self.sigma[first : first + size], self.noise[first : first + size])


def draw_noise(
    denoiser: Denoiser, x0: Tensor, count: int, levels: tuple[float, float], rng: torch.Generator
) -> NoiseBatch:
    """Draw stratified noise levels (one in each of ``count`` equal strata of ``levels``) and antithetic noise.

    Each second noise is the first one negated: what the two have in common is the picture, so that the mean of a step
    is steadier than that of independent draws.

    Args:
        x0: [*, C, h, w], gives shape, type and device.
        count: B.
        levels: shares of the trained timesteps, from least (0) to most noise (1).
        rng: on the CPU.
    """
    low, high = levels
    shares = (torch.arange(count) + torch.rand(count, generator=rng)) / count
    shares = shares[torch.randperm(count, generator=rng)]
    half = torch.randn((-(-count // 2), *x0.shape[1:]), generator=rng)
    noise = rearrange(torch.stack([half, -half], dim=1), "b sign ... -> (b sign) ...")[:count]
    sigma = denoiser.sigmas_at((low + (high - low) * shares).to(x0))
    return NoiseBatch(sigma.clamp(denoiser.sigma_min, denoiser.sigma_max), noise.to(x0))


def check_levels(levels: tuple[float, float]) -> tuple[float, float]:
    """Refuse noise levels outside 0..1 or in the wrong order.

    Raises:
        InputError: when they do; the sentence names both.
    """
    low, high = levels
    if not 0 <= low < high <= 1:
        raise InputError(f"The noise levels go from {low:g} to {high:g}; expected 0 <= from < to <= 1.")
    return levels
