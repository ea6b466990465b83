"""DDIM inversion: the photo's own noise, the probability-flow ODE solved backwards, for noise, velocity and flow alike.

Each of them is dx / dsigma = (x - D(x, sigma)) / sigma, with x = x0 + sigma n or x = (1 - sigma) x0 + sigma n.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ....models.diffusion.guidance import euler_step
from ..progress import Progress
from .denoiser import Denoiser

__all__ = ["down_to_least_noise", "invert_to_noise", "noise_levels", "step_counter", "unit_noise"]

Denoise = Callable[[Tensor, Tensor], Tensor]
_LARGEST_RATIO = 2.0  # of two noise levels below a schedule's lowest


def noise_levels(denoiser: Denoiser, steps: int) -> Tensor:
    """Return the falling noise levels of a sampling run, [steps + 1], evenly over the timesteps; the last is 0."""
    shares = torch.linspace(1, 0, steps) if steps > 1 else torch.ones(1)
    sigmas = denoiser.sigmas_at(shares.to(denoiser.device)).float().clamp(denoiser.sigma_min, denoiser.sigma_max)
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def down_to_least_noise(sigmas: Tensor, sigma_min: float) -> Tensor:
    """Return a schedule [S + 1], falling to 0, with the levels below its lowest that an inversion has to begin with.

    Samplers step from their lowest level to 0 at once, and some schedules stop far above the least noise; a photo
    counts as its own latent at the least noise only.
    """
    levels = sigmas[sigmas > 0]
    low = float(levels[-1])
    if low <= _LARGEST_RATIO * sigma_min or sigma_min <= 0:
        return torch.cat([levels, levels.new_zeros(1)])
    count = 1
    while low / sigma_min > _LARGEST_RATIO**count:
        count += 1
    shares = torch.arange(1, count + 1, dtype=torch.float64) / count
    below = (low * (sigma_min / low) ** shares).to(levels)
    return torch.cat([levels, below, levels.new_zeros(1)])


def invert_to_noise(
    denoise: Denoise,
    x0: Tensor,
    levels: Tensor,
    refinements: int = 2,
    report: Callable[[Tensor], None] = lambda denoised: None,
) -> Tensor:
    """Return the noise [B, C, h, w] at the highest level that a deterministic sampler turns into these pictures.

    Euler's step from below takes the slope where it starts, the way back where it ends; solving each step again with
    the slope at its end (a fixed point, as in AIDI, 2309.04907) makes both meet.

    Args:
        denoise: (noisy latents [B, C, h, w], sigma []) -> denoised ones.
        x0: the pictures' latents [B, C, h, w], scaled for the network; taken for those of the lowest level.
        levels: [S + 1], falling, the last 0.
        refinements: times each step is solved again.
        report: called once for each step with a denoised latent.
    """
    x, rising = x0, levels[:-1].flip(0)
    for sigma, sigma_next in zip(rising[:-1], rising[1:], strict=True):
        denoised = denoise(x, sigma)
        x_next = euler_step(x, denoised, sigma, sigma_next)
        for _ in range(refinements):
            denoised = denoise(x_next, sigma_next)
            x_next = x + (x_next - denoised) / sigma_next * (sigma_next - sigma)
        x = x_next
        report(denoised)
    return x


def unit_noise(x: Tensor, x0: Tensor, initial_noise: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the standard noise [B, C, h, w] that a sampler has to begin with to meet x.

    Args:
        x: what the sampler's first step sees, [B, C, h, w].
        x0: the latent that it puts noise on.
        initial_noise: (x0, noise) -> x, affine in the noise: the host's own.
    """
    zeros = torch.zeros_like(x)
    offset, scale = initial_noise(x0, zeros), initial_noise(zeros, torch.ones_like(x))
    return (x - offset) / scale


def step_counter(progress: Progress, steps: int) -> Callable[[Tensor], None]:
    """Return a ``report`` for `invert_to_noise` that counts its steps."""
    counter = itertools.count(1)
    return lambda denoised: progress(next(counter), steps)
