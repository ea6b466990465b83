"""Modulated convolution (1912.04958): weights scaled per sample, demodulated, then noise, bias and activation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..bias_act import ACTIVATIONS
from ..gpu import needs_gradient
from ..select import chosen_path
from ..spare_cores import settle
from .bands import bands_suit, modulated_conv2d_bands
from .choice import cpu_path
from .fast import modulated_conv2d_fast
from .naive import modulated_conv2d_naive
from .prepared import PreparedWeight, kernel_energy
from .tiled import modulated_conv2d_tiled, tiled_suits

__all__ = [
    "PreparedWeight",
    "demodulation",
    "modulated_conv2d",
    "modulated_conv2d_bands",
    "modulated_conv2d_fast",
    "modulated_conv2d_naive",
    "modulated_conv2d_tiled",
    "tiled_suits",
]


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """Compute 1 / |weight scaled by style|, so that outputs keep unit variance: [O, I, kh, kw], [B, I] -> [B, O]."""
    return torch.rsqrt(styles.square() @ kernel_energy(weight).t() + 1e-8)


def modulated_conv2d(
    x: Tensor,  # [B, I, H, W]
    weight: Tensor,  # [O, I, k, k] with k odd
    styles: Tensor,  # [B, I]
    *,
    up: int = 1,  # 1 or 2
    fir: Tensor | None = None,  # [kh, kw] low-pass of the upsampling, needed when up = 2
    demodulate: bool = True,
    noise: Tensor | None = None,  # broadcastable to [B, 1, up H, up W], already scaled
    bias: Tensor | None = None,  # [O]
    activation: str = "linear",
    gain: float = 1.0,  # after the activation
    clamp: float | None = None,  # after the gain
    prepared: PreparedWeight | None = None,  # kept by the caller beside a weight that stays the same over many calls
) -> Tensor:
    """Compute clamp(gain * activation(conv(x; weight * style, demodulated) + noise + bias)), [B, O, up H, up W].

    Analyzing and Improving the Image Quality of StyleGAN (1912.04958), equations 1 to 3. The convolution is a
    correlation with "same" size; with up = 2 it is the transposed one, followed by the low-pass filter.

    Raises:
        ValueError: shapes, a factor or an activation that do not fit.
    """
    if x.ndim != 4:
        raise ValueError(f"modulated_conv2d expects [B, C, H, W]; got {tuple(x.shape)}.")
    batch, channels, height, width = x.shape
    if weight.ndim != 4 or weight.shape[1] != channels or weight.shape[2] != weight.shape[3] or not weight.shape[2] % 2:
        raise ValueError(f"Weights of shape {tuple(weight.shape)} do not fit an input of shape {tuple(x.shape)}.")
    if styles.shape != (batch, channels):
        raise ValueError(f"Styles of shape {tuple(styles.shape)} given; expected ({batch}, {channels}).")
    if up not in (1, 2):
        raise ValueError(f"modulated_conv2d can keep the size or double it; got up {up}.")
    if up == 2 and fir is None:
        raise ValueError("modulated_conv2d needs a filter when it upsamples.")
    if noise is not None and not _fits(noise, (batch, 1, up * height, up * width)):
        raise ValueError(f"Noise of shape {tuple(noise.shape)} does not fit {up * height} x {up * width} pixels.")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"A bias of shape {tuple(bias.shape)} does not fit {weight.shape[0]} output channels.")
    if activation not in ACTIVATIONS:
        raise ValueError(f"Unknown activation '{activation}'; expected one of {', '.join(ACTIVATIONS)}.")

    def run(layer: Callable[..., Tensor], x, weight, styles, noise, bias, prepared) -> Tensor:
        return layer(x, weight, styles, up, fir, demodulate, noise, bias, activation, gain, clamp, prepared)

    path = chosen_path()
    if path == "reference" or (path in ("auto", "rule") and x.dtype.itemsize == 8):
        return run(modulated_conv2d_naive, x, weight, styles, noise, bias, prepared)
    layer = modulated_conv2d_fast
    if x.device.type == "cpu":
        settle()
        gradient = needs_gradient(x, weight, styles, noise, bias)
        paths: dict[str, Callable[..., Tensor]] = {"fast": modulated_conv2d_fast}
        # Without a place to keep them, the transformed weights would cost more than they save.
        if (prepared is not None or path == "tiled") and tiled_suits(x, weight, up, fir, noise, activation, gain):
            paths["tiled"] = modulated_conv2d_tiled
        if not gradient and bands_suit(x, weight, up):
            paths["bands"] = modulated_conv2d_bands
        if path in ("auto", "rule"):
            path = cpu_path(x, weight, up, paths, prepared, gradient, run)
        layer = paths.get(path, modulated_conv2d_fast)
    return run(layer, x, weight, styles, noise, bias, prepared)


def _fits(x: Tensor, shape: tuple[int, ...]) -> bool:
    return x.ndim == len(shape) and all(size in (1, full) for size, full in zip(x.shape, shape, strict=True))
