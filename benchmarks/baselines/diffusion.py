"""SDEdit (2108.01073) and DDIB (2203.08382): edits by the same model without learning, which Imagic is compared with.

Both follow the model's own ordinary differential equation with Euler's steps (DDIM, 2010.02502), on whatever host.
"""

from __future__ import annotations

import torch
from semantic_edit.editing.common.diffusion.denoiser import Denoiser
from semantic_edit.editing.common.progress import Progress, silent
from semantic_edit.editing.imagic.conditioning import Conditioning
from semantic_edit.models.diffusion.guidance import CFGDenoiser, euler_step
from semantic_edit.models.errors import InputError
from torch import Tensor

__all__ = ["ddib", "sdedit"]


def sdedit(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    target: Conditioning,
    negative: Conditioning,
    denoise: float = 0.6,
    steps: int = 20,
    cfg: float = 4.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Tensor:
    """Put noise on the photo, and denoise it under the sentence (2108.01073).

    Args:
        denoise: share of the timesteps that the noise covers. Much of it forgets the photo, little the sentence.
        steps: of the way down; as many for every ``denoise``.

    Returns:
        A latent [1, C, h, w] like the one given, on the CPU.

    Raises:
        InputError: when there are several photos, no steps, or ``denoise`` lies outside 0..1.
    """
    _check(latent, steps)
    if not 0 < denoise <= 1:
        raise InputError(f"The denoise is {denoise:g}; expected a value above 0, up to 1.")
    with torch.no_grad():
        x0 = denoiser.latent_in(latent)
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed)).to(x0)
        sigmas = _falling_sigmas(denoiser, steps, denoise)
        x = denoiser.noised(x0, noise, sigmas[:1])
        guided = _guided(denoiser, target, negative, cfg, x0)
        return denoiser.latent_out(_integrate(guided, x, sigmas, 0, steps, progress)).cpu()


def ddib(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    source: Conditioning,
    target: Conditioning,
    negative: Conditioning,
    steps: int = 20,
    cfg: float = 4.0,
    progress: Progress = silent,
) -> Tensor:
    """Go from the photo to its own noise under a caption, and from there to a picture under the sentence (2203.08382).

    Args:
        source: a caption of the photo. It is followed without guidance, which would not lead back.
        cfg: guidance of the way back; 1 is the paper's.

    Returns:
        A latent [1, C, h, w] like the one given, on the CPU.

    Raises:
        InputError: when there are several photos or no steps.
    """
    _check(latent, steps)
    with torch.no_grad():
        x = denoiser.latent_in(latent)
        sigmas = _falling_sigmas(denoiser, steps, 1.0)
        # The picture is taken as it stands for the one at the least noise, as is usual: the two differ by nothing seen.
        inverted = _integrate(
            _guided(denoiser, source, negative, 1.0, x), x, sigmas[:-1].flip(0), 0, 2 * steps, progress
        )
        guided = _guided(denoiser, target, negative, cfg, x)
        return denoiser.latent_out(_integrate(guided, inverted, sigmas, steps, 2 * steps, progress)).cpu()


def _guided(denoiser: Denoiser, target: Conditioning, negative: Conditioning, cfg: float, x: Tensor) -> CFGDenoiser:
    return CFGDenoiser(
        denoiser, (target.embedding, target.extras), (negative.embedding, negative.extras), cfg, tuple(x.shape)
    )


def _integrate(guided: CFGDenoiser, x: Tensor, sigmas: Tensor, first: int, total: int, progress: Progress) -> Tensor:
    """Follow the equation through these noise levels [N]; ``first`` of ``total`` steps lie behind."""
    for i in range(len(sigmas) - 1):
        x = euler_step(x, guided(x, sigmas[i]), sigmas[i], sigmas[i + 1])
        progress(first + i + 1, total)
    return x


def _falling_sigmas(denoiser: Denoiser, steps: int, denoise: float) -> Tensor:
    """Return falling noise levels [steps + 1], evenly over the timesteps, and 0 at last."""
    shares = torch.linspace(denoise, 0, steps + 1)[:-1] if steps == 1 else torch.linspace(denoise, 0, steps)
    sigmas = denoiser.sigmas_at(shares).clamp(denoiser.sigma_min, denoiser.sigma_max)
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def _check(latent: Tensor, steps: int) -> None:
    if len(latent) != 1:
        raise InputError(f"Got {len(latent)} photos; one is edited at a time.")
    if steps < 1:
        raise InputError(f"Sampling needs 1 or more steps; got {steps}.")
