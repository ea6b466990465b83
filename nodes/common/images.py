"""IMAGE batches of ComfyUI and pictures of the networks, one into the other."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import host
from ...editing.common.pictures import check_pictures


def to_image_batch(pictures: Tensor) -> Tensor:
    """Turn pictures [B,3 or 1,H,W] about -1..1 into an IMAGE [B,H,W,3], float32 0..1, on the host's result device."""
    pictures = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
    images = pictures.to(host.current().result_device(), torch.float32).movedim(1, -1)
    return images.add(1).mul(0.5).clamp(0, 1).contiguous()


def from_image_batch(images: Tensor, device: torch.device | str | None = None) -> Tensor:
    """Turn an IMAGE [B,H,W,3 or 4] in 0..1 into pictures [B,3,H,W] float32 in -1..1; an alpha channel is dropped.

    Raises:
        InputError: another shape, or an empty batch.
    """
    check_pictures(images)
    colours = images[..., :3].to(device or host.current().device(), torch.float32)
    return colours.movedim(-1, 1).mul(2).sub(1).contiguous()
