"""Modulated convolution as one convolution for the whole batch.

Scaling the input by the style before, and by the demodulation after, gives the same sums as scaling the weights, with
two gains: weights are shared by all samples (no grouped convolution, and no gradient ever flows to frozen weights),
and the second scaling joins noise, bias and gain in the pass that follows. A single sample with fewer weights than
activations is the exception: there the weights are scaled, which saves both passes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..epilogue import Finish, finish_fast, finish_gpu, gpu_suits
from ..select import chosen_path
from ..small_product import small_product
from ..upfirdn2d.fast import is_channels_last
from .naive import transposed_padding
from .prepared import PreparedWeight, kernel_energy


def modulated_conv2d_fast(
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
    prepared: PreparedWeight | None = None,  # used for the energy of weights that are frozen
) -> Tensor:
    """See :func:`kernels.modulated_conv.modulated_conv2d`."""
    exact = torch.promote_types(x.dtype, torch.float32)  # scales are never rounded to half precision
    styles = styles.to(exact)
    if weight.shape[2] == 1 and up == 1 and not demodulate:
        y = _project(x, weight, styles)
        return _finish(y, None, noise, bias, None, Finish(activation, 1.0, gain, clamp))
    if x.dtype == torch.float16 and demodulate:
        # Demodulation divides the scale out again, so both may be brought near 1 to stay inside half precision; by the
        # fan-in as well, as published, since inputs clamped at 256 would else sum up to more than half precision holds.
        fan_in = weight[0].numel()
        weight = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) * fan_in**0.5)
        styles = styles / styles.abs().amax(dim=1, keepdim=True)
    # lrelu is homogeneous: its gain can ride on the demodulation, the noise and the bias.
    inner_gain = gain if activation in ("lrelu", "linear") and gain > 0 else 1.0
    scale = _demodulation_scale(weight, styles, inner_gain, prepared) if demodulate else None  # [B, O]
    if scale is None and inner_gain != 1.0:
        scale = styles.new_full((1, 1), inner_gain)

    if _weights_are_smaller(x, weight, up):
        scaled = weight * styles[0, None, :, None, None]
        if scale is not None:
            scaled = scaled * (scale[0, :, None, None, None] if scale.shape[1] > 1 else inner_gain)
        y, scale = _convolve(x, scaled.to(x.dtype), up), None
    else:
        y = _convolve(x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype), up)
    outer = 1.0 if inner_gain == gain else gain
    padding, fir = ((0, 0, 0, 0), None) if up == 1 else (transposed_padding(fir, weight.shape[2]), fir)
    return _finish(y, scale, noise, bias, fir, Finish(activation, inner_gain, outer, clamp, padding, 4.0))


def _demodulation_scale(weight: Tensor, styles: Tensor, gain: float, prepared: PreparedWeight | None) -> Tensor:
    """Compute the demodulation times ``gain``, [O, I, k, k], [B, I] -> [B, O]."""
    frozen = prepared is not None and not weight.requires_grad and weight.dtype == styles.dtype
    energy = prepared.energy(weight) if frozen else kernel_energy(weight.to(styles.dtype))
    return torch.rsqrt(small_product(styles.square(), energy.t()) + 1e-8) * gain


def _project(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """Apply a 1 x 1 kernel with few outputs: the styles go into the weights [B, O, I], and one product reads x once."""
    batch, channels, height, width = x.shape
    scaled = (weight[None, :, :, 0, 0] * styles[:, None]).to(x.dtype)
    if is_channels_last(x):
        y = torch.bmm(x.permute(0, 2, 3, 1).reshape(batch, -1, channels), scaled.transpose(1, 2))
        return y.view(batch, height, width, -1).permute(0, 3, 1, 2)
    return torch.bmm(scaled, x.reshape(batch, channels, -1)).view(batch, -1, height, width)


def _weights_are_smaller(x: Tensor, weight: Tensor, up: int) -> bool:
    if x.shape[0] != 1 or weight.requires_grad:
        return False
    out_channels = weight.shape[0]
    activations = x[0].numel() + out_channels * x.shape[2] * x.shape[3] * up * up
    # Under autograd scaled weights would ask for a weight gradient, the dearer half of the backward pass.
    return weight.numel() < activations and not torch.is_grad_enabled()


def _convolve(x: Tensor, weight: Tensor, up: int) -> Tensor:
    """Convolve; with ``up`` 2 the low-pass is still to come."""
    if up == 1:
        return F.conv2d(x, weight, padding=weight.shape[2] // 2)
    return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)


def _finish(
    y: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor | None, fir: Tensor | None, finish: Finish
) -> Tensor:
    # Called by the fast path alone, which "auto" never takes for float64.
    on_gpu = chosen_path() in ("auto", "gpu") and gpu_suits(y, scale, noise, fir, finish.activation)
    return (finish_gpu if on_gpu else finish_fast)(y, scale, noise, bias, fir, finish)
