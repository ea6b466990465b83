"""One convolution for the whole batch.

Scaling the input by the style before, and by the demodulation after, gives the same sums as scaling the weights, with
two gains: weights are shared by all samples (no grouped convolution, and no gradient ever flows to frozen weights),
and the second scaling joins noise, bias and gain in the pass that follows. A single sample with fewer weights than
activations is the exception: there the weights are scaled, which saves both passes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..bias_act.fast import finish_lrelu_
from ..bias_act.naive import ACTIVATIONS
from ..upfirdn2d.fast import is_channels_last, upfirdn2d_fast
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
        return _epilogue(y, None, noise, bias, activation, 1.0, gain, clamp)
    if x.dtype == torch.float16 and demodulate:
        # Demodulation divides the scale out again, so both may be brought near 1 to stay inside half precision.
        weight = weight / weight.abs().amax(dim=(1, 2, 3), keepdim=True)
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
        y, scale = _convolve(x, scaled.to(x.dtype), up, fir), None
    else:
        y = _convolve(x * styles.to(x.dtype)[:, :, None, None], weight.to(x.dtype), up, fir)
    return _epilogue(y, scale, noise, bias, activation, inner_gain, gain, clamp)


def _demodulation_scale(weight: Tensor, styles: Tensor, gain: float, prepared: PreparedWeight | None) -> Tensor:
    """[O, I, k, k], [B, I] -> [B, O]: the demodulation times ``gain``."""
    frozen = prepared is not None and not weight.requires_grad and weight.dtype == styles.dtype
    energy = prepared.energy(weight) if frozen else kernel_energy(weight.to(styles.dtype))
    return torch.rsqrt(styles.square() @ energy.t() + 1e-8) * gain


def _project(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
    """A 1 x 1 kernel with few outputs: the styles go into the weights [B, O, I], and one product reads x once."""
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


def _convolve(x: Tensor, weight: Tensor, up: int, fir: Tensor | None) -> Tensor:
    size = weight.shape[2]
    if up == 1:
        return F.conv2d(x, weight, padding=size // 2)
    y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return upfirdn2d_fast(y, fir, 1, 1, transposed_padding(fir, size), 4.0)


def _epilogue(
    y: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    bias: Tensor | None,
    activation: str,
    inner_gain: float,
    gain: float,
    clamp: float | None,
) -> Tensor:
    if bias is not None:
        bias = (bias * inner_gain).to(y.dtype)[None, :, None, None]
    if scale is not None:
        scale = scale.to(y.dtype)[:, :, None, None]
        y = y * scale if bias is None else torch.addcmul(bias, y, scale)
    elif bias is not None:
        y = y.add_(bias)  # y is the convolution's own fresh result
    if noise is not None:
        y = y.add_((noise * inner_gain).to(y.dtype))
    if activation == "lrelu" and inner_gain == gain:
        return finish_lrelu_(y, clamp)
    y = ACTIVATIONS[activation].function(y)
    if inner_gain != gain:
        y = y * gain
    return y if clamp is None else y.clamp(-clamp, clamp)
