"""The photo's own noise: the probability-flow ODE solved backwards, for noise, velocity and flow prediction alike.

Each of them is dx / dsigma = (x - D(x, sigma)) / sigma, with x = x0 + sigma n or x = (1 - sigma) x0 + sigma n.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...models.diffusion.guidance import euler_step
from ..common.diffusion.denoiser import Denoiser

__all__ = ["invert_to_noise", "noise_levels"]

Denoise = Callable[[Tensor, Tensor], Tensor]


def noise_levels(denoiser: Denoiser, steps: int) -> Tensor:
    """Return the falling noise levels of a sampling run, [steps + 1], evenly over the timesteps; the last is 0."""
    shares = torch.linspace(1, 0, steps) if steps > 1 else torch.ones(1)
    sigmas = denoiser.sigmas_at(shares.to(denoiser.device)).float().clamp(denoiser.sigma_min, denoiser.sigma_max)
    return torch.cat([sigmas, sigmas.new_zeros(1)])


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
