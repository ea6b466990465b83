"""The reference of upfirdn2d: its definition, step by step."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def upfirdn2d_naive(x: Tensor, fir: Tensor, up: int, down: int, padding: tuple[int, ...], gain: float) -> Tensor:
    """See :func:`kernels.upfirdn2d.upfirdn2d`; every step stands alone."""
    batch, channels, height, width = x.shape
    kernel = fir if fir.ndim == 2 else fir[:, None] * fir[None, :]
    kernel = (kernel * gain).flip(0, 1).to(x.dtype)

    inserted = x.new_zeros(batch, channels, height, up, width, up)
    inserted[:, :, :, 0, :, 0] = x
    inserted = rearrange(inserted, "b c h up_y w up_x -> b c (h up_y) (w up_x)")
    padded = F.pad(inserted, padding)  # negative entries crop
    filtered = F.conv2d(padded, kernel.expand(channels, 1, *kernel.shape), groups=channels)
    return filtered[:, :, ::down, ::down]
