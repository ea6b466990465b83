"""The epilogue in as few passes as torch's own operations allow; it also stands in where the kernel cannot run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..bias_act.fast import finish_lrelu_
from ..bias_act.naive import ACTIVATIONS
from ..upfirdn2d.fast import upfirdn2d_fast


@dataclass(frozen=True)
class Finish:
    """The constants of y' = clamp(outer act(scale fir(y) + inner noise + inner bias), -clamp, clamp)."""

    activation: str = "linear"
    inner: float = 1.0  # the gain of a homogeneous activation; ``scale`` already holds it
    outer: float = 1.0
    clamp: float | None = None
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # of the low-pass: left, right, top, bottom
    fir_gain: float = 1.0


def finish_fast(
    y: Tensor,  # [B, C, H, W], fresh: it may be overwritten
    scale: Tensor | None,  # [B or 1, C or 1]
    noise: Tensor | None,  # broadcastable to [B, 1, H, W]
    bias: Tensor | None,  # [C]
    fir: Tensor | None,  # [kh, kw]
    finish: Finish,
) -> Tensor:
    """Compute :class:`Finish`, [B, C, H, W] -> [B, C, H', W']; the size changes with a low-pass only."""
    if fir is not None:
        y = upfirdn2d_fast(y, fir, 1, 1, finish.padding, finish.fir_gain)
    if bias is not None:
        bias = (bias * finish.inner).to(y.dtype)[None, :, None, None]
    if scale is not None:
        scale = scale.to(y.dtype)[:, :, None, None]
        y = y * scale if bias is None else torch.addcmul(bias, y, scale)
    elif bias is not None:
        y = y.add_(bias)  # y is the convolution's own fresh result
    if noise is not None:
        y = y.add_((noise * finish.inner).to(y.dtype))
    if finish.activation == "lrelu" and finish.outer == 1.0:
        return finish_lrelu_(y, finish.clamp)
    y = ACTIVATIONS[finish.activation].function(y)
    if finish.outer != 1.0:
        y = y * finish.outer
    return y if finish.clamp is None else y.clamp(-finish.clamp, finish.clamp)
