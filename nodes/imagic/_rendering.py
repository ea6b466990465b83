"""Rendering and files of the Imagic nodes: the host's diffusion models as the methods see them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ... import host
from ...editing.imagic.sampling import NOISES, Renderer, Sampling
from ...editing.imagic.sweep import SentenceScore
from ...models.errors import InputError
from ...models.files.imagic import read_imagic
from ..common.devices import place_all
from ..common.diffusion import latent_of


def renderer_for(
    model: Any, vae: Any, negative: list, latent: dict, sampling: Sampling, noise: str = NOISES[0]
) -> Renderer:
    """Return a sampler of pictures, from all noise on the photo's LATENT, whose mask counts as in KSampler.

    Args:
        model, vae: the host's MODEL and VAE.
        negative: CONDITIONING of the guidance.
        latent: LATENT with samples [1, C, h, w].
        noise: one of NOISES; the photo's own is found before the first picture, under the negative.
    """
    diffusion, samples = host.current().diffusion, latent_of(latent)
    mask, indices = latent.get("noise_mask"), latent.get("batch_index")

    @functools.cache
    def photo_noise() -> Tensor | None:
        return None if noise == NOISES[0] else diffusion.photo_noise(model, negative, samples, sampling)

    def sample(conditioning: list, seed: int) -> Tensor:
        host.current().check_interrupt()
        # Noise on the photo rather than alone, as KSampler has it with the photo's latent at denoise 1: at the most
        # noise little of a photo is left but its mean colours, and those are what a short tuning learns last.
        return diffusion.sample(model, conditioning, negative, samples, sampling, seed, mask, indices, photo_noise())

    return Renderer(sample, lambda denoised: diffusion.decode(vae, denoised), noise == NOISES[1])


def sentence_score(scorer: Any, prompt: str, source: str) -> SentenceScore:
    """Return the score of a sweep; wherever the scorer was moved while pictures were sampled, it comes back for it."""
    return SentenceScore(scorer, prompt, source, lambda: place_all(scorer))


def learned_before(name: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read what earlier jobs saved under a name, of photos with these keys: key -> the fields of its file."""
    backend, saved = host.current(), {}
    for file in backend.list_models("imagic"):
        if file.replace("\\", "/").startswith(f"{host.safe_name(name)}_"):
            try:
                fields = read_imagic(backend.model_path("imagic", file))
            except InputError:
                continue  # another kind of file, or a damaged one: the photo is learned again
            key = fields["provenance"].get("key")
            if key in keys:
                saved[key] = fields
    return saved
