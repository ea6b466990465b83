"""The two older ways to edit a photo with the same model and no learning: the baselines that Imagic is compared with.

Both follow the model's own ordinary differential equation with Euler's steps (DDIM, 2010.02502), on whatever host.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from semantic_edit.editing.imagic.conditioning import Entry
from semantic_edit.editing.imagic.denoiser import Denoiser
from semantic_edit.models.errors import InputError
from torch import Tensor

__all__ = ["ddib", "sdedit"]


def sdedit(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    target: Entry,
    negative: Entry,
    denoise: float = 0.6,
    steps: int = 20,
    cfg: float = 4.0,
    seed: int = 0,
    progress: Callable[..., None] = lambda step, total, preview=None: None,
) -> Tensor:
    """Noise on the photo, and away again under the sentence. Returns a latent like the one given, on the CPU.

    Args:
        denoise: share of the timesteps that the noise covers. Much of it forgets the photo, little the sentence.
        steps: of the way down; as many for every ``denoise``.

    Raises:
        InputError: several photos, no steps, or ``denoise`` outside 0..1.

    Source: SDEdit (2108.01073).
    """
    _check(latent, steps)
    if not 0 < denoise <= 1:
        raise InputError(f"The denoise is {denoise:g}; expected a value above 0, up to 1.")
    with torch.no_grad():
        x0 = denoiser.latent_in(latent)
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed)).to(x0)
        levels = _levels(denoiser, steps, denoise)
        x = denoiser.noised(x0, noise, levels[:1])
        guided = _Guided(denoiser, target, negative, cfg, tuple(x0.shape))
        return _away(denoiser, guided, x, levels, 0, steps, progress)


def ddib(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    source: Entry,
    target: Entry,
    negative: Entry,
    steps: int = 20,
    cfg: float = 4.0,
    progress: Callable[..., None] = lambda step, total, preview=None: None,
) -> Tensor:
    """From the photo to its own noise under a caption, and from there to a picture under the sentence.

    Args:
        source: what the photo shows, as a caption. It is followed without guidance, which would not lead back.
        cfg: guidance of the way back; 1 is the paper's.

    Returns:
        A latent like the one given, on the CPU.

    Raises:
        InputError: several photos or no steps.

    Source: Dual Diffusion Implicit Bridges (2203.08382).
    """
    _check(latent, steps)
    with torch.no_grad():
        x = denoiser.latent_in(latent)
        levels = _levels(denoiser, steps, 1.0)
        caption = _Guided(denoiser, source, negative, 1.0, tuple(x.shape))
        rising = levels[:-1].flip(0)
        # The picture is taken as it stands for the one at the least noise, as is usual: the two differ by nothing seen.
        for step, (low, high) in enumerate(zip(rising[:-1], rising[1:], strict=True)):
            x = x + (x - caption(x, low)) / low * (high - low)
            progress(step + 1, 2 * steps)
        guided = _Guided(denoiser, target, negative, cfg, tuple(x.shape))
        return _away(denoiser, guided, x, levels, steps, 2 * steps, progress)


class _Guided:
    """Classifier-free guidance (2207.12598)."""

    def __init__(self, denoiser: Denoiser, target: Entry, negative: Entry, cfg: float, shape: tuple[int, ...]) -> None:
        self.denoiser, self.cfg = denoiser, cfg
        self.target = denoiser.condition(target.embedding, target.extras, shape)
        self.negative = None if cfg == 1 else denoiser.condition(negative.embedding, negative.extras, shape)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.expand(len(x))
        wanted = self.denoiser.denoise(x, sigma, self.target)
        if self.negative is None:
            return wanted
        other = self.denoiser.denoise(x, sigma, self.negative)
        return other + self.cfg * (wanted - other)


def _away(
    denoiser: Denoiser, guided: _Guided, x: Tensor, levels: Tensor, done: int, total: int, progress: Callable[..., None]
) -> Tensor:
    """Down the falling noise levels; ``done`` of ``total`` steps lie behind."""
    for step in range(len(levels) - 1):
        clean = guided(x, levels[step])
        x = x + (x - clean) / levels[step] * (levels[step + 1] - levels[step])
        progress(done + step + 1, total)
    return denoiser.latent_out(x).cpu()


def _levels(denoiser: Denoiser, steps: int, denoise: float) -> Tensor:
    """Falling noise levels [steps + 1], evenly over the timesteps, and 0 at last."""
    shares = torch.linspace(denoise, 0, steps + 1)[:-1] if steps == 1 else torch.linspace(denoise, 0, steps)
    levels = denoiser.sigmas_at(shares).clamp(denoiser.sigma_min, denoiser.sigma_max)
    return torch.cat([levels, levels.new_zeros(1)])


def _check(latent: Tensor, steps: int) -> None:
    if len(latent) != 1:
        raise InputError(f"Got {len(latent)} photos; one is edited at a time.")
    if steps < 1:
        raise InputError(f"Sampling needs 1 or more steps; got {steps}.")
