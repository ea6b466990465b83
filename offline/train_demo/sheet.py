"""Contact sheets of training samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image
from torch import Tensor

from .common import to_bytes


def contact_sheet(images: Tensor, columns: int) -> Image.Image:
    """Lay out pictures ``[B, 3, H, W]`` in -1..1 as one RGB image, row by row; B is a multiple of the columns."""
    pixels = rearrange(to_bytes(images), "(rows columns) c h w -> (rows h) (columns w) c", columns=columns)
    return Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy()))


def save_sheet(path: Path, images: Tensor, columns: int) -> None:
    """Write a contact sheet of ``[B, 3, H, W]`` in -1..1 as PNG or JPEG, by the name's ending."""
    contact_sheet(images, columns).save(path)
