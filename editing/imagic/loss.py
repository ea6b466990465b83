"""Denoising score matching of one photo, in the units of the network's own output, for every kind of model.

A model's denoised latent is affine in its raw output, so an error of the latent divided by that gain is the error
the network was trained on, be it of noise, of velocity or of a flow. A plain error of the latent would weight the
noisiest levels some hundred times, and ignore detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.noise import NoiseBatch, check_levels, draw_noise
from .conditioning import Conditioning

__all__ = ["NoiseBatch", "TargetLatent", "check_levels", "denoised_target", "denoising_loss", "network_error"]


@dataclass(frozen=True, eq=False)
class TargetLatent:
    """The photo as the network sees it.

    Args:
        x0: [1, C, h, w].
        weight: [1, 1, h, w] of mean 1, what each cell counts; None for all alike.
    """

    x0: Tensor
    weight: Tensor | None = None

    @classmethod
    def from_vae(
        cls,
        denoiser: Denoiser,
        latent: Tensor,  # [1, C, h, w]
        mask: Tensor | None = None,  # [1, H, W]
        mask_weight: float = 1.0,
    ) -> TargetLatent:
        """Scale a VAE's latent for the network, and weight the area of a mask ``mask_weight`` fold.

        Raises:
            InputError: when there are several photos at once, or a mask of several.
        """
        if len(latent) != 1:
            raise InputError(f"Got {len(latent)} photos; one is edited at a time. Use Tune Photos for several.")
        x0 = denoiser.latent_in(latent)
        if mask is None or mask_weight == 1.0:
            return cls(x0)
        mask = mask[None] if mask.ndim == 2 else mask
        if len(mask) != 1:
            raise InputError(f"Got {len(mask)} masks for one photo.")
        coverage = F.interpolate(mask[None].to(x0), size=x0.shape[-2:], mode="area")
        weight = 1 + (mask_weight - 1) * coverage
        if float(weight.mean()) < 1e-6:
            raise InputError("The mask covers the whole photo and its weight is 0, so that nothing counts.")
        weight = weight / weight.mean()
        return cls(x0, weight if x0.ndim == 4 else rearrange(weight, "1 1 h w -> 1 1 1 h w"))

    def draw_noise(
        self, denoiser: Denoiser, count: int, levels: tuple[float, float], rng: torch.Generator
    ) -> NoiseBatch:
        """Draw the noise of a step for this photo; see `noise.draw_noise`."""
        return draw_noise(denoiser, self.x0, count, levels, rng)


def denoised_target(denoiser: Denoiser, target: TargetLatent, noise: NoiseBatch, conditioning: Conditioning) -> Tensor:
    """Add this noise to the photo and denoise it: [B, C, h, w]."""
    x0 = target.x0.expand(len(noise.sigma), *target.x0.shape[1:])
    condition = denoiser.condition(conditioning.embedding, conditioning.extras, tuple(x0.shape))
    return denoiser.denoise(denoiser.noised(x0, noise.noise, noise.sigma), noise.sigma, condition)


def network_error(denoiser: Denoiser, target: TargetLatent, noise: NoiseBatch, conditioning: Conditioning) -> Tensor:
    """Return the error of the network's raw output under this noise, [B, C, h, w]."""
    x0 = target.x0
    gain = denoiser.output_gain(noise.sigma).to(x0).reshape(-1, *[1] * (x0.ndim - 1))
    return (denoised_target(denoiser, target, noise, conditioning) - x0) / gain


def denoising_loss(denoiser: Denoiser, target: TargetLatent, noise: NoiseBatch, conditioning: Conditioning) -> Tensor:
    """Return the mean squared error of the network's output under this noise, a scalar [] (Imagic, Eq. 2)."""
    error = network_error(denoiser, target, noise, conditioning).square()
    return (error if target.weight is None else error * target.weight).mean()
