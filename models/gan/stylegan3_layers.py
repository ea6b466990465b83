"""The layers of StyleGAN3 (2106.12423), with NVlabs' parameter names and NVlabs' arithmetic.

A stored weight counts by its direction alone: the published layer brings weights and styles to unit mean square and
then demodulates, which takes any scale out again.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels import PreparedWeight, filtered_lrelu, jinc_lowpass, kaiser_lowpass, modulated_conv2d
from .stylegan2_layers import FullyConnectedLayer, normal_init
from .stylegan3_config import LayerSampling, StyleGAN3Config

_TILE = 4  # samples: the fast convolutions take maps of whole tiles


class FourierInput(nn.Module):
    """Row of W+ [B, D] -> Fourier features [B, C, h, w], turned and shifted as the row says (section 3.2)."""

    def __init__(self, config: StyleGAN3Config, rng: torch.Generator) -> None:
        super().__init__()
        channels, self.sampling = config.channels[0], config.sampling()[0]
        self.affine = FullyConnectedLayer(config.w_dim, 4, rng)
        self.weight = nn.Parameter(normal_init(rng, channels, channels))
        self.register_buffer("transform", torch.zeros(3, 3))
        self.register_buffer("freqs", torch.zeros(channels, 2))
        self.register_buffer("phases", torch.zeros(channels))
        if not self.weight.is_meta:
            with torch.no_grad():
                self.transform.fill_diagonal_(1.0)
                self.affine.weight.mul_(0.01)
                self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
            # Even on a disk as large as the band, as published.
            frequencies = normal_init(rng, channels, 2)
            radii = frequencies.norm(dim=1, keepdim=True)
            self.freqs.copy_(frequencies / (radii * radii.square().exp().pow(0.25)) * self.sampling.cutoff)
            self.phases.copy_(torch.rand(channels, generator=rng) - 0.5)

    def forward(self, w: Tensor) -> Tensor:
        """[B, D] -> [B, C, h, w]."""
        pose = self.affine(w)  # cosine, sine, x, y
        pose = pose / pose[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, x, y = pose.unbind(dim=1)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rotation = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], dim=1).view(-1, 3, 3)
        translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1).view(-1, 3, 3)
        transform = rotation @ translation @ self.transform.to(pose)
        freqs = self.freqs.to(pose)
        phases = self.phases.to(pose) + (freqs @ transform[:, :2, 2:])[:, :, 0]  # [B, C]
        freqs = freqs @ transform[:, :2, :2]  # [B, C, 2]
        band, rate = self.sampling.cutoff, self.sampling.rate
        amplitudes = (1 - (freqs.norm(dim=2) - band) / (rate / 2 - band)).clamp(0, 1)
        # Positions in pictures, from the middle: [n].
        positions = (torch.arange(self.sampling.size, device=w.device) - (self.sampling.size - 1) / 2).to(pose) / rate
        waves = freqs[:, :, None, None, 0] * positions + (freqs[..., 1, None] * positions)[..., None]  # [B, C, h, w]
        waves = torch.sin((waves + phases[:, :, None, None]) * (2 * math.pi)) * amplitudes[:, :, None, None]
        weight = self.weight.to(pose) / math.sqrt(len(self.weight))
        return torch.einsum("oc,bchw->bohw", weight, waves)


class AliasFreeLayer(nn.Module):
    """A styled convolution and a filtered leaky ReLU, from one sampling to the next."""

    def __init__(
        self,
        config: StyleGAN3Config,
        in_channels: int,
        out_channels: int,
        before: LayerSampling,
        after: LayerSampling,
        critical: bool,  # sampled as sparsely as the picture allows
        rng: torch.Generator,
    ) -> None:
        super().__init__()
        self.size, self.clamp, self.kernel = (after.size, after.size), config.conv_clamp, config.kernel
        self.affine = FullyConnectedLayer(config.w_dim, in_channels, rng, bias_init=1.0)
        self.weight = nn.Parameter(normal_init(rng, out_channels, in_channels, config.kernel, config.kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))  # mean square of the input, tracked in training
        between = max(before.rate, after.rate) * config.lrelu_upsampling
        self.up, self.down = between // before.rate, between // after.rate
        up_taps = config.filter_size * self.up if self.up > 1 else 1
        down_taps = config.filter_size * self.down if self.down > 1 else 1
        radial = config.radial and not critical and down_taps > 1
        # Never stored, and never on the meta device, where arithmetic would import sympy for seconds.
        with torch.device("cpu"):
            up_filter = kaiser_lowpass(up_taps, before.cutoff, 2 * before.half_width, between)
            design = jinc_lowpass if radial else kaiser_lowpass
            down_filter = design(down_taps, after.cutoff, 2 * after.half_width, between)
        self.register_buffer("up_filter", up_filter, persistent=False)
        self.register_buffer("down_filter", down_filter, persistent=False)
        total = (after.size - 1) * self.down + 1 + up_taps + down_taps - 2
        total -= (before.size + config.kernel - 1) * self.up
        begin = (total + self.up) // 2
        self.padding = (begin, total - begin)
        self.prepared = PreparedWeight()

    def _apply(self, fn, recurse: bool = True):  # torch's way to move a module, or to change its type
        module = super()._apply(fn, recurse)
        self.prepared.leave(self.weight)
        return module

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B, I, h, w], row of W+ [B, D] -> [B, O, H, W]."""
        styles = self.affine(w)
        styles = styles * styles.square().mean(dim=1, keepdim=True).clamp(min=1e-30).rsqrt()
        input_gain = self.magnitude_ema.rsqrt().to(styles)
        size = x.shape[2] + self.kernel - 1  # all positions at which the kernel meets the map
        # The input's gain goes through the convolution: it rides on the first filter, and the bias is divided by it.
        y = modulated_conv2d(self._widen(x), self.weight, styles, bias=self.bias / input_gain, prepared=self.prepared)
        y, padding = y[:, :, :size, :size], (*self.padding, *self.padding)
        return filtered_lrelu(
            y, self.up_filter, self.down_filter, self.up, self.down, padding, input_gain, clamp=self.clamp
        )

    def _widen(self, x: Tensor) -> Tensor:
        """Pad x [B, I, h, w] so that a convolution of the same size meets it everywhere, to whole tiles."""
        border = self.kernel // 2
        if not border:
            return x
        end = border + -(x.shape[2] + 2 * border) % _TILE
        return F.pad(x, (border, end, border, end))


class ColourLayer(nn.Module):
    """Styled 1 x 1 convolution to colours, without demodulation, filter or non-linearity."""

    def __init__(self, config: StyleGAN3Config, in_channels: int, rng: torch.Generator) -> None:
        super().__init__()
        self.clamp = config.conv_clamp
        self.affine = FullyConnectedLayer(config.w_dim, in_channels, rng, bias_init=1.0)
        self.weight = nn.Parameter(normal_init(rng, config.img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.img_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.weight_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B, I, H, W], row of W+ [B, D] -> colours [B, 3, H, W]."""
        styles = self.affine(w) * (self.weight_gain * self.magnitude_ema.rsqrt().to(w))
        return modulated_conv2d(x, self.weight, styles, demodulate=False, bias=self.bias, clamp=self.clamp)
