"""The published losses of pair sliders, side by side, in the units of the network's own output.

With D the denoised latent, s the slider's multiplier, x_a and x_b the pictures before and after, noised alike:

`two-sided`      |D(x_b; +1) - b|^2 + |D(x_a; -1) - a|^2                       Concept Sliders (2311.12092), image form
`content first`  the same on top of a content LoRA that has learned both pictures and is thrown away afterwards (ours)
`PairEdit`       |D(x_a; +1) - (a + eta (b - a))|^2 on top of a content LoRA of the picture before      (2506.07992)
`residual`       |D(x; +-1) - (D(x; 0) +- eta (b - a) / 2)|^2 for x between the two pictures, noised (ours)

`separate_passes` holds SliderEdit's, and what the others become with reference latents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.noise import NoiseBatch, draw_noise
from .multiplier import Multiplier
from .settings import PairSettings

__all__ = ["Draws", "PairLatents", "content_loss", "has_content", "slider_loss"]


@dataclass(frozen=True, eq=False)
class Draws:
    """What one step draws: pairs [B], shares of the way from before to after [B], and the noise."""

    pairs: Tensor
    shares: Tensor
    noise: NoiseBatch

    def split(self, size: int) -> Iterator[Draws]:
        """Yield the same draws, at most ``size`` at a time."""
        for first, noise in zip(range(0, len(self.pairs), size), self.noise.split(size), strict=True):
            chosen = slice(first, first + size)
            yield Draws(self.pairs[chosen], self.shares[chosen], noise)


@dataclass(frozen=True, eq=False)
class PairLatents:
    """K pairs as the network sees them, [K, C, h, w] each, and the network's arguments for their sentence."""

    denoiser: Denoiser
    before: Tensor
    after: Tensor
    condition: Any

    def draw(self, settings: PairSettings, rng: torch.Generator, count: int | None = None) -> Draws:
        """Draw pairs and noise of one step."""
        count = count or settings.draws
        pairs = torch.randint(0, len(self.before), (count,), generator=rng).to(self.before.device)
        shares = torch.rand(count, generator=rng).to(self.before)
        return Draws(pairs, shares, draw_noise(self.denoiser, self.before, count, settings.levels, rng))

    def denoised(self, x0: Tensor, noise: NoiseBatch, copies: int = 1) -> Tensor:
        """Return what the network makes of noised latents x0 [B, C, h, w], ``copies`` times in one batch."""
        x = self.denoiser.noised(x0, noise.noise, noise.sigma)
        repeats = [copies] + [1] * (x.ndim - 1)
        return self.denoiser.denoise(x.repeat(repeats), noise.sigma.repeat(copies), self.condition)

    def squared_error(self, denoised: Tensor, target: Tensor, sigma: Tensor) -> Tensor:
        """Return the mean squared error [] of the network's output that a denoised latent stands for."""
        gain = self.denoiser.output_gain(sigma).to(target).reshape(-1, *[1] * (target.ndim - 1))
        return ((denoised - target) / gain).square().mean()

    def slider_terms(self, draws: Draws, settings: PairSettings, slider: Multiplier) -> Iterator[Tensor]:
        """Yield the slider's loss in terms [] whose sum it is; each may be freed before the next is made."""
        yield slider_loss(self, draws, settings, slider)

    def content_terms(self, draws: Draws, settings: PairSettings) -> Iterator[Tensor]:
        """Yield the content's loss likewise."""
        yield content_loss(self, draws, settings)

    def ends(self, draws: Draws, slider: Multiplier) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the denoised latents at strengths 0, +1 and -1, and the change to be learned, [B, C, h, w] each."""
        before, after = self.before[draws.pairs], self.after[draws.pairs]
        with slider.at(torch.tensor([0.0, 1.0, -1.0]).repeat_interleave(len(before))):
            denoised = self.denoised(torch.lerp(before, after, 0.5), draws.noise, copies=3)
        return (*denoised.chunk(3), after - before)

    def example(self, noise: NoiseBatch, slider: Multiplier) -> Tensor:
        """Return the first picture before, noised, as the slider at +1 denoises it, [1, C, h, w]."""
        with slider.at(torch.ones(1)):
            return self.denoised(self.before[:1], noise)

    def both_sides(self, draws: Draws) -> tuple[Tensor, NoiseBatch]:
        """Return the pictures before, then those after, [2 B, C, h, w], under the same noise."""
        x0 = torch.cat([self.before[draws.pairs], self.after[draws.pairs]])
        return x0, NoiseBatch(*(torch.cat([tensor] * 2) for tensor in (draws.noise.sigma, draws.noise.noise)))


def has_content(loss: str) -> bool:
    """Tell whether a loss learns a content LoRA first."""
    return loss in ("content first", "PairEdit")


def content_loss(latents: PairLatents, draws: Draws, settings: PairSettings) -> Tensor:
    """Return the denoising loss [] of the pictures whose content is learned first."""
    if settings.loss == "PairEdit":
        x0, noise = latents.before[draws.pairs], draws.noise
    else:
        x0, noise = latents.both_sides(draws)
    return latents.squared_error(latents.denoised(x0, noise), x0, noise.sigma)


def slider_loss(latents: PairLatents, draws: Draws, settings: PairSettings, slider: Multiplier) -> Tensor:
    """Return the loss [] of the slider; the module's head has the formulas.

    The slider stays at the strengths of this loss: checkpointed blocks are computed again on the way back.
    """
    if settings.loss == "PairEdit":
        return _pairedit(latents, draws, settings.eta, slider)
    if settings.loss == "residual":
        return _residual(latents, draws, settings.eta, slider)
    x0, noise = latents.both_sides(draws)
    slider.strengths = _signs(len(draws.pairs), -1.0, 1.0).to(x0)
    return latents.squared_error(latents.denoised(x0, noise), x0, noise.sigma)


def _pairedit(latents: PairLatents, draws: Draws, eta: float, slider: Multiplier) -> Tensor:
    before, after = latents.before[draws.pairs], latents.after[draws.pairs]
    slider.strengths = torch.ones(len(before)).to(before)
    denoised = latents.denoised(before, draws.noise)
    return latents.squared_error(denoised, before + eta * (after - before), draws.noise.sigma)


def _residual(latents: PairLatents, draws: Draws, eta: float, slider: Multiplier) -> Tensor:
    before, after = latents.before[draws.pairs], latents.after[draws.pairs]
    shares = draws.shares.reshape(-1, *[1] * (before.ndim - 1))
    between, half = torch.lerp(before, after, shares), eta * (after - before) / 2
    slider.strengths = None
    with torch.no_grad():
        original = latents.denoised(between, draws.noise)
    slider.strengths = _signs(len(before), 1.0, -1.0).to(before)
    denoised = latents.denoised(between, draws.noise, copies=2)
    target = torch.cat([original + half, original - half])
    return latents.squared_error(denoised, target, draws.noise.sigma.repeat(2))


def _signs(count: int, first: float, second: float) -> Tensor:
    return torch.tensor([first] * count + [second] * count)
