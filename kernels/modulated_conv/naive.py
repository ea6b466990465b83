"""The definition: weights per sample, grouped convolution, zero insertion written out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..bias_act.naive import bias_act_naive
from ..upfirdn2d.naive import upfirdn2d_naive
from .prepared import PreparedWeight


def modulated_conv2d_naive(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int,
    fir: Tensor | None,
    demodulate: bool,
    noise: Tensor | None,
    bias: Tensor | None,
    activation: str,
    gain: float,
    clamp: float | None,
    prepared: PreparedWeight | None = None,  # not used: nothing is kept here
) -> Tensor:
    """See :func:`kernels.modulated_conv.modulated_conv2d`."""
    batch, channels, height, width = x.shape
    size = weight.shape[2]
    scaled = weight[None] * styles[:, None, :, None, None]  # [B, O, I, k, k]
    if demodulate:
        norm = (scaled.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        scaled = scaled * norm
    if up == 1:
        flat = scaled.reshape(-1, channels, size, size).to(x.dtype)
        y = F.conv2d(x.reshape(1, -1, height, width), flat, padding=size // 2, groups=batch)
    else:
        flat = scaled.transpose(1, 2).reshape(batch * channels, -1, size, size).to(x.dtype)
        y = F.conv_transpose2d(x.reshape(1, -1, height, width), flat, stride=2, groups=batch)
    y = y.reshape(batch, -1, *y.shape[2:])
    if up == 2:
        y = upfirdn2d_naive(y, fir, 1, 1, transposed_padding(fir, size), 4.0)
    if noise is not None:
        y = y + noise.to(y.dtype)
    return bias_act_naive(y, bias, activation, gain, clamp)


def transposed_padding(fir: Tensor, size: int) -> tuple[int, int, int, int]:
    """Padding of the low-pass that follows a stride-2 transposed convolution of kernel ``size``, for output 2H x 2W.

    The transposed convolution gives 2H + size - 2 rows; "same" padding of both the kernel and the filter leaves these.
    """
    kh, kw = fir.shape[0], fir.shape[-1]
    inner = size // 2
    left, right = (kw + 1) // 2, (kw - 2) // 2
    top, bottom = (kh + 1) // 2, (kh - 2) // 2
    # Each side has inner padding of the upsampled image and size - 1 rows that the transposed form adds.
    return (
        left + inner - (size - 1),
        right + inner - (size - 2),
        top + inner - (size - 1),
        bottom + inner - (size - 2),
    )
