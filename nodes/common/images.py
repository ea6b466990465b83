"""Conversions between IMAGE batches of ComfyUI and pictures of the networks."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from ... import host
from ...editing.common.pictures import check_pictures
from ...host import io
from ...models.files.picture_reader import FITS


def to_image_batch(pictures: Tensor) -> Tensor:
    """Turn pictures into an IMAGE on the host's result device.

    Args:
        pictures: [B, 3 or 1, H, W], about -1..1.

    Returns:
        [B, H, W, 3], float32 in 0..1.
    """
    pictures = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
    images = rearrange(pictures.to(host.current().result_device(), torch.float32), "b c h w -> b h w c")
    return images.add(1).mul(0.5).clamp(0, 1).contiguous()


def from_image_batch(images: Tensor, device: torch.device | str | None = None) -> Tensor:
    """Turn an IMAGE into pictures; an alpha channel is dropped.

    Args:
        images: [B, H, W, 3 or 4] in 0..1.
        device: of the result; default: the host's working device.

    Returns:
        [B, 3, H, W], float32 in -1..1.

    Raises:
        InputError: another shape, or an empty batch.
    """
    check_pictures(images)
    colours = images[..., :3].to(device or host.current().device(), torch.float32)
    return rearrange(colours, "b h w c -> b c h w").mul(2).sub(1).contiguous()


def fit_input() -> io.Combo.Input:
    """Return the list of what happens to pictures of another shape than the generator's, for the end of a node."""
    return io.Combo.Input(
        "fit",
        options=list(FITS),
        optional=True,
        tooltip="How pictures of another shape are fitted: crop fills and cuts, pad adds a border, stretch distorts.",
    )
