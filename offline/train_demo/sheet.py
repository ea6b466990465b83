"""Contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from .common import to_bytes


def sheet(images: Tensor, columns: int) -> Image.Image:
    """Pictures ``[B, 3, H, W]`` in -1..1 as one RGB image, row by row; B must be a multiple of the columns."""
    batch, channels, height, width = images.shape
    rows = to_bytes(images).view(batch // columns, columns, channels, height, width)
    pixels = rows.permute(0, 3, 1, 4, 2).reshape(batch // columns * height, columns * width, channels)
    return Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy()))


def save_sheet(path: Path, images: Tensor, columns: int) -> None:
    """Write a contact sheet as PNG or JPEG, by the name's ending."""
    sheet(images, columns).save(path)
