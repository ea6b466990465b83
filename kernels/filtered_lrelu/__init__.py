"""Filtered leaky ReLU (StyleGAN3, 2106.12423): the non-linearity between an upsampling and a downsampling low-pass."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..select import choose
from .fast import filtered_lrelu_fast
from .lowpass import jinc_lowpass, kaiser_lowpass
from .naive import filtered_lrelu_naive

__all__ = ["filtered_lrelu", "filtered_lrelu_fast", "filtered_lrelu_naive", "jinc_lowpass", "kaiser_lowpass"]


def filtered_lrelu(
    x: Tensor,  # [B, C, H, W]
    up_taps: Tensor,  # [k], separable
    down_taps: Tensor,  # [k], separable, or [k, k]
    up: int = 1,
    down: int = 1,
    padding: Sequence[int] = (0, 0, 0, 0),  # left, right, top, bottom, in upsampled pixels; negative crops
    scale: Tensor | float = 1.0,  # of the input
    gain: float = 2.0**0.5,
    slope: float = 0.2,
    clamp: float | None = None,  # bounds after the gain, before the second filter
) -> Tensor:
    """Compute downsample(clamp(gain * lrelu(upsample(scale * x)))), section 3.2 of 2106.12423; ``x`` stays as it is.

    Returns:
        [B, C, H', W'] with W' = ((W up + left + right - k + 1) - k') // down + 1, and H' likewise.

    Raises:
        ValueError: factors, paddings or filters that do not fit the input.
    """
    if x.ndim != 4 or len(padding) != 4:
        raise ValueError(f"filtered_lrelu expects [B, C, H, W] and 4 paddings; got {tuple(x.shape)}, {tuple(padding)}.")
    if up < 1 or down < 1 or up_taps.ndim != 1 or down_taps.ndim not in (1, 2):
        raise ValueError(
            f"filtered_lrelu expects factors of at least 1 and taps [k], [k] or [k, k]; got {up}, {down}, "
            f"{tuple(up_taps.shape)}, {tuple(down_taps.shape)}."
        )
    if not gain > 0 or not 0 < slope <= 1:
        raise ValueError(f"filtered_lrelu expects a positive gain and a slope in 0..1; got {gain}, {slope}.")
    left, right, top, bottom = padding
    for size, begin, end, taps in ((x.shape[3], left, right, -1), (x.shape[2], top, bottom, 0)):
        if size * up + begin + end - len(up_taps) + 1 < down_taps.shape[taps]:
            raise ValueError(f"The padded input of {tuple(x.shape[2:])} is smaller than its filters.")
    run = choose(filtered_lrelu_naive, filtered_lrelu_fast, x)
    return run(x, up_taps, down_taps, up, down, tuple(padding), scale, gain, slope, clamp)
