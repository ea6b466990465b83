"""The reference of the filtered leaky ReLU: its three steps, one after the other."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..upfirdn2d.naive import upfirdn2d_naive


def filtered_lrelu_naive(
    x: Tensor,
    up_taps: Tensor,
    down_taps: Tensor,
    up: int,
    down: int,
    padding: tuple[int, ...],
    scale: Tensor | float,
    gain: float,
    slope: float,
    clamp: float | None,
) -> Tensor:
    """See :func:`kernels.filtered_lrelu.filtered_lrelu`."""
    y = upfirdn2d_naive(x * scale, up_taps, up, 1, padding, float(up * up))
    y = F.leaky_relu(y, slope) * gain
    y = y if clamp is None else y.clamp(-clamp, clamp)
    return upfirdn2d_naive(y, down_taps, 1, down, (0, 0, 0, 0), 1.0)
