"""StyleGAN2 (1912.04958) as NVlabs publish it, opened up for editing.

Beside the finished picture it gives features of any layer, stops early at a resolution, starts again from the features
of a layer, and lets a hook change features on their way. State-dict names are NVlabs' own (stylegan2-ada-pytorch and
config-f of stylegan3), so that converted checkpoints load as they are.

Layers count from 0 (the first convolution on the constant) to L - 2; row l of W+ feeds layer l, and the ToRGB of a
block reads the row after its last convolution.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import partial

import torch
from torch import Tensor, nn

from ...kernels import upsample2d
from ..errors import InputError
from .layer_blend import LayerBlend
from .stylegan2_config import StyleGAN2Config
from .stylegan2_layers import FullyConnectedLayer, SynthesisBlock, SynthesisLayer
from .synthesis_run import Hook, LayerState, SynthesisResult, check_layer, check_run
from .window import Window, part_of

__all__ = ["LayerState", "StyleGAN2", "StyleGAN2Config", "SynthesisResult"]


def normalize_second_moment(x: Tensor) -> Tensor:
    """[B, N] -> [B, N] with a mean square of 1 in each row."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """z [B, Z] and labels [B, C] -> w [B, D]."""

    def __init__(self, config: StyleGAN2Config, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        embed = (config.embed_features or config.w_dim) if config.c_dim else 0
        hidden = config.mapping_features or config.w_dim
        widths = [config.z_dim + embed] + [hidden] * (config.mapping_layers - 1) + [config.w_dim]
        if config.c_dim:
            self.embed = FullyConnectedLayer(config.c_dim, embed, rng)
        self.depth = config.mapping_layers
        for k in range(self.depth):
            layer = FullyConnectedLayer(widths[k], widths[k + 1], rng, config.activation, config.lr_multiplier)
            setattr(self, f"fc{k}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        config = self.config
        if z.ndim != 2 or z.shape[1] != config.z_dim:
            raise InputError(f"z has shape {tuple(z.shape)}; this generator expects [B, {config.z_dim}].")
        x = normalize_second_moment(z) if config.normalize_z else z
        if config.c_dim:
            if labels is None or labels.shape != (z.shape[0], config.c_dim):
                got = "none" if labels is None else str(tuple(labels.shape))
                raise InputError(f"This generator needs labels of shape [{z.shape[0]}, {config.c_dim}]; got {got}.")
            x = torch.cat([x, normalize_second_moment(self.embed(labels.to(x.dtype)))], dim=1)
        for k in range(self.depth):
            x = getattr(self, f"fc{k}")(x)
        return x


class SynthesisNetwork(nn.Module):
    """Rows of W+ [B, L, D] -> picture [B, 3, H, W]."""

    def __init__(self, config: StyleGAN2Config, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.block_names: list[str] = []
        self.layers: list[tuple[int, str]] = []  # layer index -> (block index, conv name)
        for k, channels in enumerate(config.channels):
            size = (config.const_size[0] * 2**k, config.const_size[1] * 2**k)
            block = SynthesisBlock(
                in_channels=config.channels[k - 1] if k else 0,
                out_channels=channels,
                w_dim=config.w_dim,
                size=size,
                img_channels=config.img_channels,
                is_last=k == len(config.channels) - 1,
                architecture=config.architecture,
                rng=rng,
                resample_filter=config.resample_filter,
                conv_clamp=config.conv_clamp,
                activation=config.activation,
                use_noise=config.use_noise,
            )
            name = f"b{4 * 2**k}"  # NVlabs' names for a 4 x 4 constant; other constants keep the numbering
            self.block_names.append(name)
            setattr(self, name, block)
            self.layers += [(k, conv) for conv in (("conv0", "conv1") if k else ("conv1",))]

    def layer_size(self, layer: int) -> tuple[int, int, int]:
        """(channels, height, width) of a layer's features."""
        block, _ = self.layers[check_layer(layer, len(self.layers))]
        return (self.config.channels[block], *self._block(block).size)

    def forward(
        self,
        ws: Tensor,  # [B, L, D]
        noise: str | int = "constant",  # "constant", "none", "random" (training), or a seed
        stop_resolution: int | None = None,  # height at which to stop ("skip" architecture)
        want_features: Collection[int] = (),  # layers whose features to return
        stop_layer: int | None = None,  # stop after this layer and return its state instead of a picture
        resume: LayerState | None = None,  # start after this layer, with its part of the picture
        hook: Hook | None = None,  # called with (layer, features), returns the features to go on with
        dtype: torch.dtype | None = None,  # of the convolutions; the picture is summed in float32
        first_index: int = 0,  # position of ws[0] in a larger batch, for seeded noise
        blend: LayerBlend | None = None,  # a second set of codes, and where each row of it shows
    ) -> SynthesisResult:
        last_block = self._last_block(stop_resolution)
        rows = (self.config.num_layers, self.config.w_dim)
        last = max(layer for layer, (block, _) in enumerate(self.layers) if block <= last_block)
        check_run(ws, rows, noise, self.layer_size, last, len(self.layers), want_features, stop_layer, resume)
        if blend is not None and blend.edited.shape != ws.shape:
            raise InputError(
                f"The edited codes {list(blend.edited.shape)} do not match the plain ones {list(ws.shape)}."
            )
        dtype = dtype or ws.dtype
        batch = ws.shape[0]
        window = None if resume is None else resume.window
        sources = _NoiseSource(noise, batch, first_index, ws.device, window)
        features: dict[int, Tensor] = {}
        if resume is None:
            start, image, residual = -1, None, None
            const = self._block(0).const
            x = const.to(dtype)[None].expand(batch, -1, -1, -1).contiguous(memory_format=_memory_format(const))
        else:
            start, x, image, residual = resume.layer, resume.features.to(dtype), resume.image, resume.residual
        for layer in range(max(start, 0), len(self.layers)):
            index, name = self.layers[layer]
            if index > last_block:
                break
            block = self._block(index)
            if layer > start:
                if block.residual and name == "conv0":
                    residual = block.skip(x)
                conv: SynthesisLayer = getattr(block, name)
                ends_residual = block.residual and name == "conv1"
                gain = math.sqrt(0.5) if ends_residual else 1.0
                noise_map = sources.draw(layer, conv)
                if blend is None:
                    x = conv(x, ws[:, layer], noise_map, gain)
                else:
                    x = blend.run(layer, partial(conv, gain=gain), x, ws[:, layer], noise_map)
                if ends_residual:
                    x = x + residual
                if hook is not None:
                    x = hook(layer, x)
                if layer in want_features:
                    features[layer] = x
            if layer == stop_layer:
                return SynthesisResult(None, features, LayerState(layer, x, image, residual, window))
            if name == "conv1":
                image = self._add_rgb(block, x, ws, layer + 1, image, blend)
        return SynthesisResult(image, features)

    def _add_rgb(
        self, block: SynthesisBlock, x: Tensor, ws: Tensor, row: int, image: Tensor | None, blend: LayerBlend | None
    ) -> Tensor | None:
        if not block.has_rgb:
            return None if image is None else upsample2d(image, block.resample_filter)
        if blend is None:
            rgb = block.torgb(x, ws[:, row])
        else:
            rgb = blend.run(row, lambda x, w, _: block.torgb(x, w), x, ws[:, row], None)
        rgb = rgb.to(torch.promote_types(rgb.dtype, torch.float32))
        return rgb if image is None else upsample2d(image, block.resample_filter, add=rgb)

    def _block(self, index: int) -> SynthesisBlock:
        return getattr(self, self.block_names[index])

    def _last_block(self, stop_resolution: int | None) -> int:
        if stop_resolution is None:
            return len(self.block_names) - 1
        heights = [self._block(k).size[0] for k in range(len(self.block_names))]
        if self.config.architecture != "skip":
            raise InputError("Only the 'skip' architecture has a picture at every resolution; this one must run whole.")
        if stop_resolution not in heights:
            raise InputError(f"This generator has pictures of heights {heights}; cannot stop at {stop_resolution}.")
        return heights.index(stop_resolution)


class StyleGAN2(nn.Module):
    """``mapping`` (z -> w) and ``synthesis`` (rows of W+ -> picture); randomly initialised from ``generator``."""

    def __init__(self, config: StyleGAN2Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        rng = generator if generator is not None else torch.Generator().manual_seed(0)
        self.config = config
        self.mapping = MappingNetwork(config, rng)
        self.synthesis = SynthesisNetwork(config, rng)


class _NoiseSource:
    """Unit-variance noise per layer. A seed gives picture i the same noise in any batch and from any starting layer."""

    def __init__(
        self, mode: str | int, batch: int, first_index: int, device: torch.device, window: Window | None
    ) -> None:
        self.mode, self.batch, self.first_index, self.device, self.window = mode, batch, first_index, device, window

    def draw(self, layer: int, conv: SynthesisLayer) -> Tensor | None:
        if not conv.use_noise or self.mode == "none":
            return None
        return part_of(self._whole(layer, conv), self.window)

    def _whole(self, layer: int, conv: SynthesisLayer) -> Tensor:
        if self.mode == "constant":
            return conv.noise_const[None, None]
        if self.mode == "random":
            return torch.randn(self.batch, 1, *conv.size, device=self.device)
        drawn = [self._seeded(layer, picture, conv.size) for picture in range(self.batch)]
        return torch.stack(drawn).to(self.device)

    def _seeded(self, layer: int, picture: int, size: tuple[int, int]) -> Tensor:
        rng = torch.Generator().manual_seed(_mixed_seed(int(self.mode), self.first_index + picture, layer))
        return torch.randn(1, *size, generator=rng)


def _mixed_seed(seed: int, picture: int, layer: int) -> int:
    """32 bits in which every bit of the three counts: torch's CPU generator reads no more of its seed."""
    mixed = (seed * 0x9E3779B97F4A7C15 + picture * 0xC2B2AE3D27D4EB4F + layer) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of splitmix64
        mixed = ((mixed ^ mixed >> shift) * factor) % 2**64
    return (mixed ^ mixed >> 31) % 2**32


def _memory_format(x: Tensor) -> torch.memory_format:
    # Channels last measures best on the CPU (depthwise and transposed convolutions) and on CUDA in half precision.
    return torch.channels_last if x.device.type == "cpu" else torch.contiguous_format
