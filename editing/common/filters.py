"""Gaussian smoothing of pictures and masks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_TAIL = 3  # sigmas of the kernel that count
_STRIP = 64  # pixels of a row that are smoothed at once
_UNCHANGED = 0.1  # px; a smaller sigma leaves everything as it is


def gaussian_blur(x: Tensor, sigma: float, border: str = "symmetric") -> Tensor:
    """Smooth by a Gaussian, along both axes.

    Args:
        x: [B, C, H, W].
        sigma: in pixels; below a tenth of a pixel nothing changes.
        border: what lies outside, "symmetric" (mirrored at the edge, also further than the picture is large) or
            "replicate" (the edge goes on).

    Returns:
        [B, C, H, W].
    """
    if sigma < _UNCHANGED:
        return x
    radius = max(1, math.ceil(_TAIL * sigma))
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    # Strips of a row at a time, times a band of the kernel: a convolution of one channel by a long one is far slower.
    band = F.pad(kernel, (_STRIP - 1, _STRIP - 1)).unfold(0, _STRIP, 1).flip(1)  # [pixels with margins, pixels]
    for _ in range(2):
        width = x.shape[3]
        index = torch.arange(-radius, width + radius, device=x.device)
        index = symmetric_index(index, width) if border == "symmetric" else index.clamp(0, width - 1)
        padded = F.pad(x.index_select(3, index), (0, -width % _STRIP))
        strips = padded.unfold(3, len(band), _STRIP)  # [B, C, H, strips, pixels with margins]
        b, c, h, count, _ = strips.shape
        # One plain product of matrices: as a batch of them, small pictures take four times as long.
        smooth = rearrange(strips, "b c h strips pixels -> (b c h strips) pixels") @ band
        x = rearrange(smooth, "(b c h strips) pixels -> b c (strips pixels) h", b=b, c=c, h=h, strips=count)
        x = x[..., :width, :]
    return x


def symmetric_index(index: Tensor, length: int) -> Tensor:
    """Mirror positions at the outer edges of the first and last pixel, as often as needed.

    Args:
        index: integers of any size and shape.
        length: of the axis.

    Returns:
        The same shape, in 0..length-1.
    """
    index = index % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)
