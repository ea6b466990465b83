"""Picture resizing with ComfyUI's methods and crops."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional


def resize(images: Tensor, width: int, height: int, method: str, crop: bool) -> Tensor:
    """Resize a batch.

    Args:
        images: [B, H, W, C] in 0..1.
        width, height: of the result, px.
        method: "lanczos" (in 8 bits), or a mode of `torch.nn.functional.interpolate`.
        crop: first cut the middle out, in the result's proportions.

    Returns:
        [B, height, width, C].
    """
    rows, columns = images.shape[1:3]
    if crop:
        aspect, target_aspect = columns / rows, width / height
        x = round((columns - columns * (target_aspect / aspect)) / 2) if aspect > target_aspect else 0
        y = round((rows - rows * (aspect / target_aspect)) / 2) if aspect < target_aspect else 0
        images = images[:, y : rows - y, x : columns - x]
    if method == "lanczos":
        return torch.stack([_lanczos(image, width, height) for image in images]).to(images)
    resized = functional.interpolate(rearrange(images, "b h w c -> b c h w"), size=(height, width), mode=method)
    return rearrange(resized, "b c h w -> b h w c")


def _lanczos(image: Tensor, width: int, height: int) -> Tensor:
    picture = Image.fromarray(np.clip(255.0 * image.cpu().numpy(), 0, 255).astype(np.uint8))
    picture = picture.resize((width, height), resample=Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture).astype(np.float32) / 255.0)
