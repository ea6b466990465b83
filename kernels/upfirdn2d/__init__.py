"""Upsample by zero insertion, pad, filter with a FIR, downsample: the resampling step of StyleGAN2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..select import choose, chosen_path
from .fast import upfirdn2d_fast
from .gpu import gpu_suits, upfirdn2d_gpu
from .naive import upfirdn2d_naive

__all__ = ["setup_filter", "upfirdn2d", "upfirdn2d_fast", "upfirdn2d_gpu", "upfirdn2d_naive", "upsample2d"]


def setup_filter(taps: Sequence[float] | Tensor, normalize: bool = True) -> Tensor:
    """Make a FIR as a float32 tensor: 1-D taps of fewer than 8 become their outer product [k, k], as NVlabs keep them.

    normalize: scale the taps to sum 1 (unit gain at frequency 0).
    """
    # Never on the meta device, where networks are sketched before loading: arithmetic there imports sympy for seconds.
    fir = torch.as_tensor(taps, dtype=torch.float32, device=taps.device if isinstance(taps, Tensor) else "cpu")
    if fir.ndim not in (1, 2) or fir.numel() == 0:
        raise ValueError(f"A filter needs 1 or 2 dimensions and at least one tap; got shape {tuple(fir.shape)}.")
    if fir.ndim == 1 and fir.numel() < 8:
        fir = torch.outer(fir, fir)
    return fir / fir.sum() if normalize else fir


def upfirdn2d(
    x: Tensor,  # [B, C, H, W]
    fir: Tensor,  # [kh, kw], or [k] for a separable filter
    up: int = 1,
    down: int = 1,
    padding: Sequence[int] = (0, 0, 0, 0),  # left, right, top, bottom, in upsampled pixels; negative crops
    gain: float = 1.0,
) -> Tensor:
    """Compute y = downsample(fir * pad(zero_insert(x))), a true convolution (the filter is flipped), times ``gain``.

    Returns:
        [B, C, H', W'] with W' = (W up + left + right - kw) // down + 1, and H' likewise.

    Raises:
        ValueError: factors, paddings or a filter that do not fit the input.
    """
    if x.ndim != 4:
        raise ValueError(f"upfirdn2d expects [B, C, H, W]; got {tuple(x.shape)}.")
    if len(padding) != 4:
        raise ValueError(f"upfirdn2d expects 4 paddings (left, right, top, bottom); got {len(padding)}.")
    if up < 1 or down < 1:
        raise ValueError(f"upfirdn2d expects factors of at least 1; got up {up}, down {down}.")
    kh, kw = (fir.shape[0], fir.shape[-1])
    left, right, top, bottom = padding
    if -min(left, right) >= x.shape[3] * up or -min(top, bottom) >= x.shape[2] * up:
        size = f"{x.shape[2] * up} x {x.shape[3] * up}"
        raise ValueError(f"The padding {tuple(padding)} crops the whole {size} input away.")
    if x.shape[3] * up + left + right < kw or x.shape[2] * up + top + bottom < kh:
        raise ValueError(f"The padded input is smaller than the {kh} x {kw} filter.")
    gpu = upfirdn2d_gpu if gpu_suits(x, fir, up, down) else None
    return choose(upfirdn2d_naive, upfirdn2d_fast, x, gpu=gpu)(x, fir, up, down, tuple(padding), gain)


def upsample2d(x: Tensor, fir: Tensor, up: int = 2, add: Tensor | None = None) -> Tensor:
    """Enlarge [B, C, H, W] ``up`` times with its mean kept: StyleGAN2's RGB upsampling; ``add`` is added on top."""
    kh, kw = fir.shape[0], fir.shape[-1]
    padding = ((kw + up - 1) // 2, (kw - up) // 2, (kh + up - 1) // 2, (kh - up) // 2)
    gain = float(up * up)
    if add is not None and chosen_path() in ("auto", "gpu") and gpu_suits(x, fir, up, 1, add):
        return upfirdn2d_gpu(x, fir, up, 1, padding, gain, add)
    y = upfirdn2d(x, fir, up=up, padding=padding, gain=gain)
    return y if add is None else y + add
