"""The reference of modulated convolution: weights per sample, grouped convolution, zero insertion written out."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange, reduce
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
    batch, size = x.shape[0], weight.shape[2]
    scaled = weight * rearrange(styles, "b i -> b 1 i 1 1")  # [B, O, I, k, k]
    if demodulate:
        scaled = scaled * (reduce(scaled.square(), "b o i kh kw -> b o 1 1 1", "sum") + 1e-8).rsqrt()
    grouped = rearrange(x, "b i h w -> 1 (b i) h w")  # a group for each sample
    if up == 1:
        kernels = rearrange(scaled, "b o i kh kw -> (b o) i kh kw").to(x.dtype)
        y = F.conv2d(grouped, kernels, padding=size // 2, groups=batch)
    else:
        kernels = rearrange(scaled, "b o i kh kw -> (b i) o kh kw").to(x.dtype)
        y = F.conv_transpose2d(grouped, kernels, stride=2, groups=batch)
    y = rearrange(y, "1 (b o) h w -> b o h w", b=batch)
    if up == 2:
        y = upfirdn2d_naive(y, fir, 1, 1, transposed_padding(fir, size), 4.0)
    if noise is not None:
        y = y + noise.to(y.dtype)
    return bias_act_naive(y, bias, activation, gain, clamp)


def transposed_padding(fir: Tensor, size: int) -> tuple[int, int, int, int]:
    """Return the padding of the low-pass after a stride-2 transposed convolution of kernel ``size``, for 2H x 2W.

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
