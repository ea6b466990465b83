"""Modulated convolution in bands of rows: the fast path on a band at a time, bands as threads, without gradients.

A picture of a million pixels does not fit into a cache, and the passes after its convolution cost as much as that. A
band does; it begins and ends with the few rows that its neighbours need too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..strips import run_strips
from .fast import modulated_conv2d_fast
from .prepared import PreparedWeight

VALUES = 2**19  # of a band's output
_WEIGHTS = 0.5  # a band's output beside the weights, which each band reads and arranges again


def bands_suit(x: Tensor, weight: Tensor, up: int) -> bool:
    """Return True where a layer on a CPU falls into bands (shapes already checked)."""
    return x.device.type == "cpu" and x.numel() > 0 and len(_bands(x, weight, up)) > 1


def modulated_conv2d_bands(
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
    prepared: PreparedWeight | None = None,
) -> Tensor:
    """See :func:`kernels.modulated_conv.modulated_conv2d`; no gradient flows through it."""
    height, width = x.shape[2:]
    halo = weight.shape[2] // 2 if up == 1 else 1 + (weight.shape[2] + fir.shape[0]) // 4
    result = torch.empty(
        (x.shape[0], weight.shape[0], up * height, up * width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )

    def work(band: tuple[int, int, int]) -> None:
        picture, first, last = band
        low, high = max(first - halo, 0), min(last + halo, height)
        this = slice(picture, picture + 1)
        own_noise = noise
        if noise is not None and noise.ndim == 4:
            own_noise = noise if noise.shape[0] == 1 else noise[this]
            own_noise = own_noise if noise.shape[2] == 1 else own_noise[:, :, up * low : up * high]
        y = modulated_conv2d_fast(
            x[this, :, low:high], weight, styles[this], up, fir, demodulate, own_noise, bias, activation, gain, clamp,
            prepared,
        )  # fmt: skip
        begin = up * (first - low)
        result[this, :, up * first : up * last] = y[:, :, begin : begin + up * (last - first)]

    def make_worker() -> Callable[[tuple[int, int, int]], None]:
        return work

    with torch.no_grad():
        run_strips(_bands(x, weight, up), make_worker)
    return result


def _bands(x: Tensor, weight: Tensor, up: int) -> list[tuple[int, int, int]]:
    """Return (picture, first row, end row) of the input for each band."""
    batch, _, height, width = x.shape
    values = max(VALUES, int(_WEIGHTS * weight.numel()))
    rows = max(8, values // (width * weight.shape[0] * up * up))
    rows = -(-height // max(1, height // rows))  # bands of one size, none of them a sliver
    return [(b, r, min(r + rows, height)) for b in range(batch) for r in range(0, height, rows)]
