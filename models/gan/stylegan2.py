"""StyleGAN2 (1912.04958) as NVlabs publish it, opened up for editing.

Beside the finished picture it gives features of any layer, stops early at a resolution, starts again from the features
of a layer, and lets a hook change features on their way. State-dict names are NVlabs' own (stylegan2-ada-pytorch and
config-f of stylegan3), so that converted checkpoints load as they are.

Layers count from 0 (the first convolution on the constant) to L - 2; row l of W+ feeds layer l, and the ToRGB of a
block reads the row after its last convolution.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from ...kernels import upsample2d
from ..errors import InputError
from .crop_box import crop
from .hooks import hooked
from .layer_blend import LayerBlend
from .network import PlainNetwork
from .precision import HALF_RESOLUTIONS, half_dtype
from .stylegan2_config import StyleGAN2Config
from .stylegan2_layers import FullyConnectedLayer, SynthesisBlock, SynthesisLayer
from .synthesis_run import LayerState, SynthesisOptions, SynthesisResult, check_layer, check_run

__all__ = ["LayerState", "StyleGAN2", "StyleGAN2Config", "SynthesisResult"]


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale each row to a mean square of 1, [B, N] -> [B, N]."""
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
        """Map z.

        Args:
            z: [B, Z].
            labels: [B, C] for generators with labels.

        Returns:
            w, [B, D].

        Raises:
            InputError: another shape.
        """
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
        self.precision = "float32"  # of finished pictures, one of `precision.PRECISIONS`
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

    def block(self, index: int) -> SynthesisBlock:
        """Return the block of a resolution, counted from the smallest; -1 is the last."""
        return getattr(self, self.block_names[index])

    def conv(self, layer: int) -> SynthesisLayer:
        """Return the convolution of a layer."""
        index, name = self.layers[layer]
        return getattr(self.block(index), name)

    def layer_size(self, layer: int) -> tuple[int, int, int]:
        """Return (channels, height, width) of a layer's features."""
        index, _ = self.layers[check_layer(layer, len(self.layers))]
        return (self.config.channels[index], *self.block(index).size)

    def margin(self, layer: int) -> int:
        """Return 0: features end where the picture does."""
        return 0

    def style(self, row: int) -> FullyConnectedLayer:
        """Return what a row of W+ feeds first: a convolution's styles, for the last row ToRGB's."""
        return (self.conv(row) if row < len(self.layers) else self.block(-1).torgb).affine

    def forward(self, ws: Tensor, options: SynthesisOptions | None = None) -> SynthesisResult:
        """Draw rows of W+.

        Args:
            ws: [B, L, D].
            options: of the run.

        Returns:
            The picture [B, 3, H, W], or the state of the layer at which the run stops.

        Raises:
            InputError: codes or options that do not fit the network.
        """
        options = options or SynthesisOptions()
        last_block = self._last_block(options.stop_resolution)
        self._check(ws, options, last_block)
        noise = _NoiseSource(options, ws)
        features: dict[int, Tensor] = {}
        x, image, residual = self._start(ws, options)
        half = self._half(ws, options)
        for layer in range(max(options.first_layer - 1, 0), len(self.layers)):
            index, name = self.layers[layer]
            if index > last_block:
                break
            block = self.block(index)
            if layer >= options.first_layer:
                if half is not None and index >= max(1, len(self.block_names) - HALF_RESOLUTIONS):
                    x = x.to(half)
                if block.residual and name == "conv0":
                    residual = block.skip(x)
                x = self._convolve(layer, x, ws, noise, residual, options.blend)
                x = hooked(options.hook, layer, x)
                if layer in options.want_features:
                    features[layer] = x
            if layer == options.stop_layer:
                return SynthesisResult(None, features, LayerState(layer, x, image, residual, options.box))
            if name == "conv1":
                image = self._add_rgb(block, x, ws, layer + 1, image, options.blend)
        return SynthesisResult(image, features)

    def _check(self, ws: Tensor, options: SynthesisOptions, last_block: int) -> None:
        """Raise InputError for codes or options that do not fit."""
        check_run(self, ws, options, max(layer for layer, (index, _) in enumerate(self.layers) if index <= last_block))
        if options.blend is not None and options.blend.edited.shape != ws.shape:
            raise InputError(
                f"The edited codes {list(options.blend.edited.shape)} do not match the plain ones {list(ws.shape)}."
            )

    def _start(self, ws: Tensor, options: SynthesisOptions) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return features [B, C, h, w] before the first layer, the picture so far, and a block's side path."""
        dtype, resume = options.dtype or ws.dtype, options.resume
        if resume is not None:
            return resume.features.to(dtype), resume.image, resume.residual
        const = self.block(0).const
        x = const.to(dtype)[None].expand(len(ws), -1, -1, -1).contiguous(memory_format=_memory_format(const))
        return x, None, None

    def _half(self, ws: Tensor, options: SynthesisOptions) -> torch.dtype | None:
        """Return the type of the highest resolutions of a run; None for float32, and for all but finished pictures."""
        if self.precision == "float32" or options.dtype is not None or ws.dtype != torch.float32:
            return None
        steps_in = options.hook or options.blend or options.resume or options.want_features
        if steps_in or options.stop_layer is not None:
            return None
        if torch.is_grad_enabled() and (ws.requires_grad or any(p.requires_grad for p in self.parameters())):
            return None
        return half_dtype(self.precision, ws.device)

    def _convolve(
        self, layer: int, x: Tensor, ws: Tensor, noise: _NoiseSource, residual: Tensor | None, blend: LayerBlend | None
    ) -> Tensor:
        """Run one layer, [B, I, h, w] -> [B, O, H, W], under one row of codes or two that are mixed."""
        index, name = self.layers[layer]
        conv, ends_residual = self.conv(layer), self.block(index).residual and name == "conv1"
        gain = math.sqrt(0.5) if ends_residual else 1.0
        noise_map = noise.draw(layer, conv)
        if blend is None:
            x = conv(x, ws[:, layer], noise_map, gain)
        else:
            x = blend.run(layer, partial(conv, gain=gain), x, ws[:, layer], noise_map)
        return x + residual if ends_residual else x

    def _add_rgb(
        self, block: SynthesisBlock, x: Tensor, ws: Tensor, row: int, image: Tensor | None, blend: LayerBlend | None
    ) -> Tensor | None:
        """Add a block's colours to the picture so far, enlarged: [B, 3, h / 2, w / 2] or None -> [B, 3, h, w]."""
        if not block.has_rgb:
            return None if image is None else upsample2d(image, block.resample_filter)
        if blend is None:
            rgb = block.torgb(x, ws[:, row])
        else:
            rgb = blend.run(row, lambda x, w, _: block.torgb(x, w), x, ws[:, row], None)
        rgb = rgb.to(torch.promote_types(rgb.dtype, torch.float32))
        return rgb if image is None else upsample2d(image, block.resample_filter, add=rgb)

    def _last_block(self, stop_resolution: int | None) -> int:
        """Return the index of the block at whose height the run stops."""
        if stop_resolution is None:
            return len(self.block_names) - 1
        heights = [self.block(k).size[0] for k in range(len(self.block_names))]
        if self.config.architecture != "skip":
            raise InputError("Only the 'skip' architecture has a picture at every resolution; this one must run whole.")
        if stop_resolution not in heights:
            raise InputError(f"This generator has pictures of heights {heights}; cannot stop at {stop_resolution}.")
        return heights.index(stop_resolution)


class StyleGAN2(PlainNetwork):
    """``mapping`` (z -> w) and ``synthesis`` (rows of W+ -> picture); randomly initialised from ``generator``."""

    def __init__(self, config: StyleGAN2Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        rng = generator if generator is not None else torch.Generator().manual_seed(0)
        self.config = config
        self.mapping = MappingNetwork(config, rng)
        self.synthesis = SynthesisNetwork(config, rng)


class _NoiseSource:
    """Unit-variance noise per layer. A seed gives picture i the same noise in any batch and from any starting layer."""

    def __init__(self, options: SynthesisOptions, ws: Tensor) -> None:
        self.mode, self.first_index, self.box = options.noise, options.first_index, options.box
        self.batch, self.device = len(ws), ws.device

    def draw(self, layer: int, conv: SynthesisLayer) -> Tensor | None:
        """Return the noise of a layer, [B or 1, 1, h, w] of the part that is drawn; None for none."""
        if not conv.use_noise or self.mode == "none":
            return None
        return crop(self._full(layer, conv), self.box)

    def _full(self, layer: int, conv: SynthesisLayer) -> Tensor:
        """[B or 1, 1, H, W]."""
        if self.mode == "constant":
            return conv.noise_const[None, None]
        if self.mode == "random":
            return torch.randn(self.batch, 1, *conv.size, device=self.device)
        maps = [self._seeded(layer, picture, conv.size) for picture in range(self.batch)]
        return torch.stack(maps).to(self.device)

    def _seeded(self, layer: int, picture: int, size: tuple[int, int]) -> Tensor:
        """[1, H, W] of one picture."""
        rng = torch.Generator().manual_seed(_mixed_seed(int(self.mode), self.first_index + picture, layer))
        return torch.randn(1, *size, generator=rng)


def _mixed_seed(seed: int, picture: int, layer: int) -> int:
    """Mix to 32 bits in which every bit of the three counts: torch's CPU generator reads no more of its seed."""
    mixed = (seed * 0x9E3779B97F4A7C15 + picture * 0xC2B2AE3D27D4EB4F + layer) % 2**64
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of splitmix64
        mixed = ((mixed ^ mixed >> shift) * factor) % 2**64
    return (mixed ^ mixed >> 31) % 2**32


def _memory_format(x: Tensor) -> torch.memory_format:
    # Channels last measures best on the CPU (depthwise and transposed convolutions) and on CUDA in half precision.
    return torch.channels_last if x.device.type == "cpu" else torch.contiguous_format
