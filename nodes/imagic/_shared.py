"""What the Imagic nodes share: their sockets, sampling inputs, and the host's models as the methods see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ... import host
from ...editing.common.pictures import check_pictures
from ...editing.imagic.sampling import Renderer, Sampling
from ...editing.imagic.sweep import SentenceScore
from ...host import io
from ...models.errors import InputError, check_choice
from ...models.files.imagic import read_imagic
from ..common.devices import place_all
from ..common.schema import MAX_SEED, seed_input

ImagicPhotosType = io.Custom("IMAGIC_PHOTOS")
ImagicSweepsType = io.Custom("IMAGIC_SWEEPS")


def sampling_inputs() -> list:
    """KSampler's own inputs, for nodes that paint."""
    backend = host.current().diffusion
    return [
        seed_input(tooltip="Seed of the first picture's noise; the others count on from it."),
        io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Sampling steps per picture."),
        io.Float.Input("cfg", default=4.0, min=0.0, max=30.0, step=0.1, tooltip="Guidance; Imagic likes 3 to 7.5."),
        io.Combo.Input("sampler_name", options=backend.samplers(), default="euler", tooltip="As in KSampler."),
        io.Combo.Input("scheduler", options=backend.schedulers(), default="normal", tooltip="As in KSampler."),
    ]


def sampling_of(steps: int, cfg: float, sampler_name: str, scheduler: str) -> Sampling:
    """The checked settings.

    Raises:
        InputError: a sampler or scheduler that the host does not know.
    """
    backend = host.current().diffusion
    check_choice("sampler_name", sampler_name, backend.samplers())
    check_choice("scheduler", scheduler, backend.schedulers())
    return Sampling(steps, cfg, sampler_name, scheduler)


def noise_level_inputs() -> list:
    """Which noise the photo is learned under, for nodes that train."""
    return [
        io.Float.Input(
            "noise_from",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="Least noise learned under, as a share of the model's timesteps. Low noise is fine detail.",
        ),
        io.Float.Input(
            "noise_to",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="Most noise learned under. High noise is composition.",
        ),
    ]


def mask_inputs() -> list:
    """Where the photo counts more, for nodes that train."""
    return [
        io.Mask.Input("mask", optional=True, tooltip="Where the photo counts more, such as the subject."),
        io.Float.Input(
            "mask_weight",
            default=4.0,
            min=0.0,
            max=100.0,
            step=0.1,
            optional=True,
            tooltip="How many times more the masked area counts. Below 1: less.",
        ),
    ]


def latent_of(latent: dict, what: str = "latent") -> Tensor:
    """The samples of a LATENT as a normal tensor.

    Raises:
        InputError: no samples, or values that are not finite.
    """
    samples = latent.get("samples") if isinstance(latent, dict) else None
    if not isinstance(samples, Tensor):
        raise InputError(f"The {what} holds no samples; connect VAE Encode.")
    with host.no_inference_mode():
        samples = samples.detach().float().clone()
    if not bool(torch.isfinite(samples).all()):
        raise InputError(f"The {what} has values that are not finite.")
    if not bool(samples.any()):
        raise InputError(f"The {what} is empty (all zeros); connect VAE Encode with the photo, not an empty latent.")
    return samples


def check_photo(photo: Tensor, samples: Tensor) -> None:
    """Refuse a photo that is not the latent's.

    Raises:
        InputError: several photos or latents, or another shape; the sentence names both.
    """
    check_pictures(photo)
    if len(photo) != 1 or len(samples) != 1:
        raise InputError(f"Got {len(photo)} photos and {len(samples)} latents; expected one of each.")
    (height, width), (rows, columns) = photo.shape[1:3], samples.shape[-2:]
    if abs(width / height - columns / rows) > 0.06 * width / height:
        raise InputError(
            f"The photo has {width} x {height} pixels and the latent {columns} x {rows} cells: another shape. Connect "
            "VAE Encode of this very photo."
        )


def seeds_from(seed: int, count: int) -> list[int]:
    """The first seed and those that count on from it, begun again at 0 behind the last that there is."""
    return [(seed + k) % (MAX_SEED + 1) for k in range(count)]


def sentence_score(scorer: Any, prompt: str, source: str) -> SentenceScore:
    """What judges a sweep; wherever the scorer was moved while pictures were painted, it comes back to judge."""
    return SentenceScore(scorer, prompt, source, lambda: place_all(scorer))


def free_memory(denoiser: Any) -> int | None:
    """Bytes that may be used where the model is, with a little left for everything else."""
    free = host.current().diffusion.free_memory(denoiser.device)
    return None if free is None else int(free * 0.92)


def learned_before(name: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What earlier jobs saved under a name, of photos with these keys: key -> the fields of its file."""
    current, saved = host.current(), {}
    for file in current.list_models("imagic"):
        if file.replace("\\", "/").startswith(f"{host.safe_name(name)}_"):
            try:
                fields = read_imagic(current.model_path("imagic", file))
            except InputError:
                continue  # another kind of file, or a damaged one: the photo is learned again
            key = fields["provenance"].get("key")
            if key in keys:
                saved[key] = fields
    return saved


def renderer_for(model: Any, vae: Any, negative: list, latent: dict, sampling: Sampling) -> Renderer:
    """What paints pictures with this model, from all noise on the photo's LATENT, whose mask counts as in KSampler."""
    backend, samples = host.current().diffusion, latent_of(latent)
    mask, indices = latent.get("noise_mask"), latent.get("batch_index")

    def sample(conditioning: list, seed: int) -> Tensor:
        host.current().check_interrupt()
        # Noise on the photo rather than alone, as KSampler has it with the photo's latent at denoise 1: at the most
        # noise little of a photo is left but its mean colours, and those are what a short tuning learns last.
        return backend.sample(model, conditioning, negative, samples, sampling, seed, mask, indices)

    return Renderer(sample, lambda samples: backend.decode(vae, samples))
