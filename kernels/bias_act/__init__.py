"""Bias and activation, then gain and clamp: the end of every StyleGAN2 layer."""

from __future__ import annotations

from torch import Tensor

from ..select import choose
from .fast import bias_act_fast
from .naive import ACTIVATIONS, bias_act_naive

__all__ = ["ACTIVATIONS", "bias_act", "bias_act_fast", "bias_act_naive"]


def bias_act(
    x: Tensor,  # [B, C, ...]
    bias: Tensor | None = None,  # [C]
    activation: str = "linear",
    gain: float | None = None,  # None: the activation's own gain (sqrt 2 for lrelu)
    clamp: float | None = None,  # bounds of the result, after the gain
) -> Tensor:
    """Compute clamp(gain * activation(x + bias)) over channels in dimension 1; ``x`` is not changed.

    Raises:
        ValueError: an unknown activation, or a bias that does not fit.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"Unknown activation '{activation}'; expected one of {', '.join(ACTIVATIONS)}.")
    if bias is not None and (bias.ndim != 1 or x.ndim < 2 or bias.shape[0] != x.shape[1]):
        raise ValueError(f"A bias of shape {tuple(bias.shape)} does not fit an input of shape {tuple(x.shape)}.")
    gain = ACTIVATIONS[activation].gain if gain is None else float(gain)
    # Imported here: the epilogue stands on the activations of this package.
    from ..epilogue import bias_act_gpu, gpu_suits

    gpu = bias_act_gpu if gpu_suits(x, None, None, None, activation) else None
    return choose(bias_act_naive, bias_act_fast, x, gpu=gpu)(x, bias, activation, gain, clamp)
