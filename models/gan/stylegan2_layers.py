"""The layers of StyleGAN2, with NVlabs' parameter names and NVlabs' arithmetic (equalised learning rate)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...kernels import ACTIVATIONS, PreparedWeight, bias_act, modulated_conv2d, setup_filter, upfirdn2d
from .precision import HALF_CLAMP

_SQRT_HALF = math.sqrt(0.5)


def _clamp(own: float | None, x: Tensor) -> float | None:
    """Return a layer's clamp: its own, else the published one where features could leave half precision."""
    return HALF_CLAMP if own is None and x.dtype == torch.float16 else own


def normal_init(rng: torch.Generator, *size: int, scale: float = 1.0) -> Tensor:
    """Draw normal numbers for a weight; leave it unset where a network is only sketched before its weights arrive.

    Arithmetic on the meta device would import torch's Python decompositions and sympy, which takes seconds.

    Args:
        rng: of the numbers.
        size: of the weight.
        scale: its standard deviation.
    """
    on_meta = torch.get_default_device().type == "meta"
    return torch.empty(size) if on_meta else torch.randn(size, generator=rng) * scale


class FullyConnectedLayer(nn.Module):
    """x W^T + b with the weights' gain applied at run time; [B, in] -> [B, out]."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: torch.Generator,
        activation: str = "linear",
        lr_multiplier: float = 1.0,  # the stored weights are this much smaller in effect
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(normal_init(rng, out_features, in_features, scale=1.0 / lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """[B, in] -> [B, out]."""
        weight = self.weight.to(x.dtype) * self.weight_gain
        bias = self.bias.to(x.dtype) * self.bias_gain
        if self.activation == "linear":
            return torch.addmm(bias, x, weight.t())
        return bias_act(x @ weight.t(), bias, self.activation)


class SynthesisLayer(nn.Module):
    """One styled 3 x 3 convolution with noise, bias and activation; doubles the size when ``up`` is 2."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        size: tuple[int, int],  # height, width of the output
        rng: torch.Generator,
        up: int = 1,
        activation: str = "lrelu",
        resample_filter: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0),
        conv_clamp: float | None = None,
        use_noise: bool = True,
    ) -> None:
        super().__init__()
        self.up, self.activation, self.conv_clamp, self.size = up, activation, conv_clamp, size
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        self.affine = FullyConnectedLayer(w_dim, in_channels, rng, bias_init=1.0)
        self.weight = nn.Parameter(normal_init(rng, out_channels, in_channels, 3, 3))
        self.use_noise = use_noise
        if use_noise:
            self.register_buffer("noise_const", normal_init(rng, *size))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.prepared = PreparedWeight()  # of ``weight``, once it is frozen

    def _apply(self, fn, recurse: bool = True):  # torch's way to move a module, or to change its type
        module = super()._apply(fn, recurse)
        self.prepared.leave(self.weight)
        return module

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, gain: float = 1.0) -> Tensor:
        """Convolve under a style.

        Args:
            x: [B, I, h, w].
            w: [B, D], the row of W+.
            noise: [B or 1, 1, H, W] of unit variance, or None.
            gain: of the result, on top of the activation's own.

        Returns:
            [B, O, H, W].
        """
        if noise is not None:
            noise = noise * self.noise_strength
        clamp = _clamp(self.conv_clamp, x)
        return modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            up=self.up,
            fir=self.resample_filter,
            noise=noise,
            bias=self.bias,
            activation=self.activation,
            gain=ACTIVATIONS[self.activation].gain * gain,
            clamp=None if clamp is None else clamp * gain,
            prepared=self.prepared,
        )


class ToRGBLayer(nn.Module):
    """Styled 1 x 1 convolution to colours, without demodulation; [B, I, H, W] -> [B, 3, H, W]."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, rng: torch.Generator, conv_clamp: float | None = None
    ) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, rng, bias_init=1.0)
        self.weight = nn.Parameter(normal_init(rng, out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B, I, H, W], row of W+ [B, D] -> colours [B, 3, H, W]."""
        styles = self.affine(w) * self.weight_gain
        clamp = _clamp(self.conv_clamp, x)
        return modulated_conv2d(x, self.weight, styles, demodulate=False, bias=self.bias, clamp=clamp)


class ResidualSkip(nn.Module):
    """The 1 x 1 side path of the "resnet" architecture; doubles the size."""

    def __init__(
        self, in_channels: int, out_channels: int, rng: torch.Generator, resample_filter: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        self.weight = nn.Parameter(normal_init(rng, out_channels, in_channels, 1, 1))
        self.weight_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, h, w] -> [B, O, 2 h, 2 w]."""
        weight = (self.weight * (self.weight_gain * _SQRT_HALF)).to(x.dtype)
        kh, kw = self.resample_filter.shape[0], self.resample_filter.shape[-1]
        padding = ((kw + 1) // 2, (kw - 2) // 2, (kh + 1) // 2, (kh - 2) // 2)
        return upfirdn2d(nn.functional.conv2d(x, weight), self.resample_filter, up=2, padding=padding, gain=4.0)


class SynthesisBlock(nn.Module):
    """The layers of one resolution: conv0 (doubles the size; not in the first block), conv1, and ToRGB."""

    def __init__(
        self,
        in_channels: int,  # 0 = the first block, which owns the constant
        out_channels: int,
        w_dim: int,
        size: tuple[int, int],
        img_channels: int,
        is_last: bool,
        architecture: str,
        rng: torch.Generator,
        resample_filter: tuple[float, ...],
        conv_clamp: float | None,
        activation: str,
        use_noise: bool,
    ) -> None:
        super().__init__()
        self.size = size
        self.residual = architecture == "resnet" and in_channels > 0
        self.has_rgb = is_last or architecture == "skip"
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        shared = dict(activation=activation, resample_filter=resample_filter, conv_clamp=conv_clamp)
        if in_channels == 0:
            self.const = nn.Parameter(normal_init(rng, out_channels, *size))
        else:
            self.conv0 = SynthesisLayer(
                in_channels, out_channels, w_dim, size, rng, up=2, use_noise=use_noise, **shared
            )
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, size, rng, use_noise=use_noise, **shared)
        if self.has_rgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, rng, conv_clamp)
        if self.residual:
            self.skip = ResidualSkip(in_channels, out_channels, rng, resample_filter)
