"""The reference of bias and activation: its definition, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_SQRT2 = 2.0**0.5


class Activation(NamedTuple):
    """An activation and the gain that StyleGAN2 gives it."""

    function: Callable[[Tensor], Tensor]
    gain: float  # keeps the variance of a unit normal input about 1


ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x: x, 1.0),
    "relu": Activation(torch.relu, _SQRT2),
    "lrelu": Activation(lambda x: F.leaky_relu(x, 0.2), _SQRT2),
    "tanh": Activation(torch.tanh, 1.0),
    "sigmoid": Activation(torch.sigmoid, 1.0),
    "elu": Activation(F.elu, 1.0),
    "selu": Activation(F.selu, 1.0),
    "softplus": Activation(F.softplus, 1.0),
    "swish": Activation(lambda x: torch.sigmoid(x) * x, _SQRT2),
}


def bias_act_naive(x: Tensor, bias: Tensor | None, activation: str, gain: float, clamp: float | None) -> Tensor:
    """See :func:`kernels.bias_act.bias_act`."""
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *([1] * (x.ndim - 2)))
    x = ACTIVATIONS[activation].function(x)
    x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)
