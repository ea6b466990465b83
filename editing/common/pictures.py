"""Pictures on their way into a generator, and out of it."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator

log = logging.getLogger(__name__)


def check_pictures(images: Tensor, what: str = "The pictures") -> None:
    """Refuse what is no batch of colour pictures [B, H, W, 3 or 4].

    Raises:
        InputError: another shape, or an empty batch.
    """
    if images.ndim != 4 or images.shape[-1] not in (3, 4) or 0 in images.shape:
        raise InputError(f"{what} have shape {list(images.shape)}; expected an IMAGE [B, H, W, 3].")


def to_rgb(pictures: Tensor) -> Tensor:
    """Pictures [B, C, H, W] of any generator -> [B, 3, H, W]: one channel is grey, and a fourth is left out."""
    return pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures[:, :3]


def as_images(pictures: Tensor) -> Tensor:
    """Pictures [B, C, H, W] about -1..1 of any generator -> what people look at, [B, H, W, 3] in 0..1, float32."""
    return to_rgb(pictures).float().mul(0.5).add(0.5).clamp(0, 1).movedim(1, -1)


def draw_states(generator: GanGenerator, codes: Tensor, stop_resolution: int | None = None) -> Tensor:
    """Pictures [S, C, H, W] of codes [S, L, D] that are states of one picture, such as before and after an edit.

    A generator that is adapted to as many photos would take the codes for all of them in turn, so it draws each alone.
    """
    if generator.adaptation is None:
        return generator.synthesize(codes, stop_resolution=stop_resolution)
    return torch.cat([generator.synthesize(code, stop_resolution=stop_resolution) for code in codes.split(1)])


def fit_to_resolution(generator: GanGenerator, pictures: Tensor) -> Tensor:
    """[B, 3, h, w] -> the generator's size. Only the scale may differ: another shape would distort what is shown.

    Raises InputError for pictures of another aspect ratio.
    """
    height, width = generator.resolution
    given = tuple(pictures.shape[2:])
    if given == (height, width):
        return pictures
    if given[0] * width != given[1] * height:
        raise InputError(
            f"The pictures are {given[1]} x {given[0]}; '{generator.name}' draws {width} x {height}. Crop or pad them "
            "to that shape first (Load Image Folder does it when the generator is connected)."
        )
    log.info("Pictures of %s x %s are resized to the generator's %s x %s.", given[1], given[0], width, height)
    return F.interpolate(pictures, (height, width), mode="bilinear", antialias=True, align_corners=False)
