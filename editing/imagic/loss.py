"""The denoising loss of one photo, in the units of the network's own output, for every kind of model.

A model's denoised picture is affine in its raw output, so an error of the picture divided by that gain is the error
the network was trained on, be it of noise, of velocity or of a flow. A plain error of the picture would weight the
noisiest levels some hundred times, and ignore detail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from .conditioning import Entry
from .denoiser import Denoiser

__all__ = ["Draws", "Photo", "check_levels", "denoising_loss", "network_error", "seen_photo"]


@dataclass(frozen=True, eq=False)
class Draws:
    """Noise for one step: sigma [B] and noise [B, C, h, w]."""

    sigma: Tensor
    noise: Tensor

    def parts(self, at_once: int) -> Iterator[Draws]:
        """The same draws, at most ``at_once`` at a time."""
        for first in range(0, len(self.sigma), at_once):
            yield Draws(self.sigma[first : first + at_once], self.noise[first : first + at_once])


@dataclass(frozen=True, eq=False)
class Photo:
    """The photo as the network sees it.

    Args:
        x0: [1, C, h, w].
        weight: [1, 1, h, w] of mean 1, what each place counts; None for all alike.
    """

    x0: Tensor
    weight: Tensor | None = None

    @classmethod
    def of(cls, denoiser: Denoiser, latent: Tensor, mask: Tensor | None = None, mask_weight: float = 1.0) -> Photo:
        """The photo of a VAE's latent [1, C, h, w], with the area of a mask [1, H, W] weighted ``mask_weight`` fold.

        Raises:
            InputError: several photos at once, or a mask of several.
        """
        if len(latent) != 1:
            raise InputError(f"Got {len(latent)} photos; one is edited at a time. Use Tune Photos for several.")
        x0 = denoiser.latent_in(latent)
        if mask is None or mask_weight == 1.0:
            return cls(x0)
        mask = mask[None] if mask.ndim == 2 else mask
        if len(mask) != 1:
            raise InputError(f"Got {len(mask)} masks for one photo.")
        inside = F.interpolate(mask[None].to(x0), size=x0.shape[-2:], mode="area")
        weight = 1 + (mask_weight - 1) * inside
        if float(weight.mean()) < 1e-6:
            raise InputError("The mask covers the whole photo and its weight is 0, so that nothing counts.")
        weight = weight / weight.mean()
        return cls(x0, weight if x0.ndim == 4 else weight[:, :, None])

    def draws(self, denoiser: Denoiser, count: int, levels: tuple[float, float], rng: torch.Generator) -> Draws:
        """Noise levels spread evenly over ``levels`` (one in each of ``count`` equal parts), and noise in pairs.

        Each second noise is the first one negated: what the two have in common is the picture, so that the mean of a
        step is steadier than that of independent draws.
        """
        low, high = levels
        part = (torch.arange(count) + torch.rand(count, generator=rng)) / count
        part = part[torch.randperm(count, generator=rng)]
        shape = (-(-count // 2), *self.x0.shape[1:])
        half = torch.randn(shape, generator=rng)
        noise = torch.stack([half, -half], dim=1).flatten(0, 1)[:count]
        sigma = denoiser.sigmas_at((low + (high - low) * part).to(self.x0))
        return Draws(sigma.clamp(denoiser.sigma_min, denoiser.sigma_max), noise.to(self.x0))


def check_levels(levels: tuple[float, float]) -> tuple[float, float]:
    """Refuse noise levels outside 0..1 or in the wrong order.

    Raises:
        InputError: naming both.
    """
    low, high = levels
    if not 0 <= low < high <= 1:
        raise InputError(f"The noise levels go from {low:g} to {high:g}; expected 0 <= from < to <= 1.")
    return levels


def seen_photo(denoiser: Denoiser, photo: Photo, draws: Draws, entry: Entry) -> Tensor:
    """The photo as the model sees it through these draws, [B, C, h, w]."""
    x0 = photo.x0.expand(len(draws.sigma), *photo.x0.shape[1:])
    condition = denoiser.condition(entry.embedding, entry.extras, tuple(x0.shape))
    return denoiser.denoise(denoiser.noised(x0, draws.noise, draws.sigma), draws.sigma, condition)


def network_error(denoiser: Denoiser, photo: Photo, draws: Draws, entry: Entry) -> Tensor:
    """The error of the network's raw output at these draws, [B, C, h, w]."""
    x0 = photo.x0
    return (seen_photo(denoiser, photo, draws, entry) - x0) / denoiser.output_gain(draws.sigma).to(x0).reshape(
        -1, *[1] * (x0.ndim - 1)
    )


def denoising_loss(denoiser: Denoiser, photo: Photo, draws: Draws, entry: Entry) -> Tensor:
    """The mean squared error of the network's output over these draws, a scalar."""
    error = network_error(denoiser, photo, draws, entry).square()
    return (error if photo.weight is None else error * photo.weight).mean()
