"""Inputs of the Imagic nodes: sockets, samplers, masks, and checks of what comes in."""

from __future__ import annotations

from torch import Tensor

from ... import host
from ...editing.common.pictures import check_pictures
from ...editing.imagic.sampling import NOISES, Sampling
from ...host import io
from ...models.errors import InputError, check_choice
from ..common.schema import MAX_SEED, came_later, seed_input

ImagicPhotosType = io.Custom("IMAGIC_PHOTOS")
ImagicSweepsType = io.Custom("IMAGIC_SWEEPS")


def sampling_inputs() -> list:
    """Return KSampler's own inputs, for nodes that sample pictures."""
    diffusion = host.current().diffusion
    return [
        seed_input(tooltip="Seed of the first picture's noise; the others count on from it."),
        io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Sampling steps per picture."),
        io.Float.Input("cfg", default=4.0, min=0.0, max=30.0, step=0.1, tooltip="Guidance; Imagic likes 3 to 7.5."),
        io.Combo.Input("sampler_name", options=diffusion.samplers(), default="euler", tooltip="As in KSampler."),
        io.Combo.Input("scheduler", options=diffusion.schedulers(), default="normal", tooltip="As in KSampler."),
    ]


def noise_input() -> io.Combo.Input:
    """Return the choice of the noise that sampling starts from."""
    widget = io.Combo.Input(
        "noise",
        options=list(NOISES),
        default=NOISES[1],
        optional=True,
        tooltip="the photo's own: the photo is inverted first (DDIM inversion under the negative), so that who and "
        "where stay; seeds then make no difference. random: by seed, as published.",
    )
    return came_later(widget, NOISES[0])


def sampling_of(steps: int, cfg: float, sampler_name: str, scheduler: str) -> Sampling:
    """Return the checked settings of a sampler.

    Raises:
        InputError: a sampler or scheduler that the host does not know.
    """
    diffusion = host.current().diffusion
    check_choice("sampler_name", sampler_name, diffusion.samplers())
    check_choice("scheduler", scheduler, diffusion.schedulers())
    return Sampling(steps, cfg, sampler_name, scheduler)


def mask_inputs() -> list:
    """Return the mask of the loss and its weight, for nodes that train."""
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


def check_photo(photo: Tensor, samples: Tensor) -> None:
    """Refuse a photo that is not the latent's.

    Args:
        photo: IMAGE [1, H, W, 3].
        samples: [1, C, h, w].

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
    """Return the first seed and those that count on from it, from 0 again behind the largest."""
    return [(seed + k) % (MAX_SEED + 1) for k in range(count)]
