"""Conversions of pictures on their way into a generator, and out of it."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator

log = logging.getLogger(__name__)


def check_pictures(images: Tensor, name: str = "The pictures") -> None:
    """Refuse what is no batch of colour pictures [B, H, W, 3 or 4].

    Args:
        name: of the pictures, for the sentence.

    Raises:
        InputError: another shape, or an empty batch.
    """
    if images.ndim != 4 or images.shape[-1] not in (3, 4) or 0 in images.shape:
        raise InputError(f"{name} have shape {list(images.shape)}; expected an IMAGE [B, H, W, 3].")


def to_rgb(pictures: Tensor) -> Tensor:
    """Convert pictures [B, C, H, W] of any generator -> [B, 3, H, W]: one channel is grey, a fourth is left out."""
    return pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures[:, :3]


def as_images(pictures: Tensor) -> Tensor:
    """Convert pictures [B, C, H, W] about -1..1 of any generator -> IMAGE [B, H, W, 3] in 0..1, float32."""
    return rearrange(to_rgb(pictures).float().mul(0.5).add(0.5).clamp(0, 1), "b c h w -> b h w c")


def draw_states(generator: GanGenerator, codes: Tensor, stop_resolution: int | None = None) -> Tensor:
    """Draw codes [S, L, D] that are states of one picture, such as before and after an edit: [S, C, H, W].

    A generator that is adapted to as many photos would take the codes for all of them in turn, so it draws each alone.

    Args:
        stop_resolution: the height at which the synthesis stops; None: finished pictures.
    """
    if generator.adaptation is None:
        return generator.synthesize(codes, stop_resolution=stop_resolution)
    return torch.cat([generator.synthesize(code, stop_resolution=stop_resolution) for code in codes.split(1)])


def fit_to_resolution(generator: GanGenerator, pictures: Tensor) -> Tensor:
    """Resize pictures [B, 3, h, w] -> [B, 3, H, W] of the generator. Only the scale may differ.

    Raises:
        InputError: pictures of another aspect ratio, which would be distorted.
    """
    height, width = generator.resolution
    old_height, old_width = pictures.shape[2:]
    if (old_height, old_width) == (height, width):
        return pictures
    if old_height * width != old_width * height:
        raise InputError(
            f"The pictures are {old_width} x {old_height}; '{generator.name}' draws {width} x {height}. Crop or pad "
            "them to that shape first (Load Image Folder does it when the generator is connected)."
        )
    log.info("Pictures of %s x %s are resized to the generator's %s x %s.", old_width, old_height, width, height)
    return F.interpolate(pictures, (height, width), mode="bilinear", antialias=True, align_corners=False)
