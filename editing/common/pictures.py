"""Conversions of pictures on their way into a generator, and out of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.files.picture_reader import FITS
from ...models.gan.generator import GanGenerator
from ...models.printable import printable_logger

log = printable_logger(__name__)


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


def fit_to_resolution(generator: GanGenerator, pictures: Tensor, fit: str = "crop") -> Tensor:
    """Bring pictures [B, 3, h, w] in -1..1 to the generator's size: [B, 3, H, W].

    Args:
        generator: draws pictures of H x W.
        pictures: of any size.
        fit: what happens to another shape, as in `read_picture`: "crop" fills the frame and cuts what sticks out, "pad"
            shows all of it on white, "stretch" distorts.

    Raises:
        InputError: an unknown fit.
    """
    fitted = _fitted(pictures, generator.resolution, fit, 1.0)
    if fitted is not pictures:
        sizes = [f"{width} x {height}" for height, width in (pictures.shape[2:], fitted.shape[2:])]
        log.info("Pictures of %s are brought to the generator's %s (%s).", *sizes, fit)
    return fitted


def fit_mask(mask: Tensor, size: tuple[int, int], fit: str = "crop") -> Tensor:
    """Bring masks [B, 1, h, w] in 0..1 to height and width as `fit_to_resolution` brings their pictures; 0 around.

    Raises:
        InputError: an unknown fit.
    """
    return _fitted(mask, size, fit, 0.0)


def padding_mask(pictures: Tensor, size: tuple[int, int], fit: str) -> Tensor | None:
    """Return [1, 1, H, W] with 0 in the border that "pad" adds to pictures [B, C, h, w]; None without a border."""
    height, width = pictures.shape[2:]
    if fit != "pad" or height * size[1] == width * size[0]:
        return None
    return fit_mask(torch.ones(1, 1, height, width, device=pictures.device), size, fit)


def _fitted(pictures: Tensor, size: tuple[int, int], fit: str, border: float) -> Tensor:
    check_choice("fit", fit, FITS)
    (old_height, old_width), (height, width) = pictures.shape[2:], size
    if (old_height, old_width) == (height, width):
        return pictures
    scaled = (height, width)
    if fit != "stretch" and old_height * width != old_width * height:
        bound = max if fit == "crop" else min
        scale = bound(height / old_height, width / old_width)
        sides = ((height, old_height), (width, old_width))
        scaled = tuple(max(1, bound(side, round(old * scale))) for side, old in sides)
    resized = F.interpolate(pictures, scaled, mode="bilinear", antialias=True, align_corners=False)
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2  # negative: what is missing
    bottom, right = scaled[0] - height - top, scaled[1] - width - left
    return F.pad(resized, (-left, -right, -top, -bottom), value=border)
