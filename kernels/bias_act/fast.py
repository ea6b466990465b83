"""Bias and activation in fewer passes: the gain of lrelu moves inside, and all after the first pass works in place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .naive import bias_act_naive


def bias_act_fast(x: Tensor, bias: Tensor | None, activation: str, gain: float, clamp: float | None) -> Tensor:
    """See :func:`kernels.bias_act.bias_act`. lrelu(g x) = g lrelu(x) for g > 0, so x and bias can carry the gain."""
    if activation != "lrelu" or gain <= 0:
        return bias_act_naive(x, bias, activation, gain, clamp)
    if bias is None:
        y = x * gain
    else:
        # alpha scales x inside the same pass; the bias is small.
        y = torch.add((bias * gain).to(x.dtype).reshape(1, -1, *([1] * (x.ndim - 2))), x, alpha=gain)
    return finish_lrelu_(y, clamp)


def finish_lrelu_(y: Tensor, clamp: float | None) -> Tensor:
    """Apply lrelu and clamp to a new tensor, in place (autograd keeps the result, all that its backward needs)."""
    y = F.leaky_relu_(y, 0.2)
    # The clamp's backward needs its input, which the next in-place step would overwrite: a copy only under autograd.
    if clamp is None:
        return y
    return y.clamp(-clamp, clamp) if y.requires_grad else y.clamp_(-clamp, clamp)
