"""The generator of Progressive GANs (1710.10196), opened up for editing as StyleGAN2 is.

A code is z itself: one row [1, Z] that feeds the start, so codes are [B, 1, Z]. Layer k is what gandissect and
GANPaint call ``layer{k+1}``: pixel norm at its input, nearest doubling where the size grows, a convolution with the
weight's scale applied at run time, bias, leaky ReLU. Its features are what comes out, before the next layer's norm.
After the last layer a pixel norm and a 1 x 1 convolution make the picture; there is no noise, no style and no smaller
picture on the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import CheckpointError, InputError
from .hooks import hooked
from .network import PlainNetwork
from .stylegan2_layers import normal_init
from .synthesis_run import LayerState, SynthesisOptions, SynthesisResult, check_layer, check_run

__all__ = ["ARCHITECTURE", "ProgressiveConfig", "ProgressiveGAN"]

ARCHITECTURE = "progressive"  # in a file's header; StyleGAN2's are "skip", "orig" and "resnet"
_START = 4  # pixels of the first layer


@dataclass(frozen=True)
class ProgressiveConfig:
    """The network's dimensions: block k is ``4 * 2**k`` pixels, with two layers of ``channels[k]`` channels."""

    z_dim: int
    channels: tuple[int, ...]
    img_channels: int = 3

    def __post_init__(self) -> None:
        if not 1 <= len(self.channels) <= 12:
            raise CheckpointError(f"A Progressive GAN has 1 to 12 blocks; got {len(self.channels)}.")
        widths = (self.z_dim, self.img_channels, *self.channels)
        if min(widths) < 1 or max(widths) > 65536:
            raise CheckpointError(f"A Progressive GAN's widths lie between 1 and 65536; got {widths}.")

    @property
    def architecture(self) -> str:
        """The name that tells this generator apart from StyleGAN2's kinds."""
        return ARCHITECTURE

    @property
    def w_dim(self) -> int:
        """D: a code is z itself."""
        return self.z_dim

    @property
    def c_dim(self) -> int:
        """No labels."""
        return 0

    @property
    def num_layers(self) -> int:
        """L, the rows of a code: one, however many layers the synthesis has."""
        return 1

    @property
    def mapping_layers(self) -> int:
        """No layers: there is no mapping."""
        return 0

    @property
    def resample_filter(self) -> tuple[float, ...]:
        """No low-pass: features are doubled by repeating."""
        return ()

    @property
    def resolution(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return (_START * 2 ** (len(self.channels) - 1),) * 2

    def to_json(self) -> dict:
        """Return a JSON-ready dict; :meth:`from_json` reverses it."""
        return {
            "architecture": ARCHITECTURE,
            "z_dim": self.z_dim,
            "channels": list(self.channels),
            "img_channels": self.img_channels,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> ProgressiveConfig:
        """Read a header's values.

        Raises:
            CheckpointError: an unknown, missing or wrong field, by its name.
        """
        unknown = sorted(set(values) - {"architecture", "z_dim", "channels", "img_channels"})
        if unknown:
            raise CheckpointError(f"The generator's config has unknown fields: {', '.join(unknown)}.")
        z_dim, img_channels = values.get("z_dim"), values.get("img_channels", 3)
        channels = values.get("channels")
        if type(z_dim) is not int or type(img_channels) is not int:
            raise CheckpointError("The generator's config needs whole numbers as z_dim and img_channels.")
        if not isinstance(channels, list | tuple) or not all(type(width) is int for width in channels):
            raise CheckpointError("The generator's config field 'channels' must be a list of whole numbers.")
        return cls(z_dim, tuple(channels), img_channels)


class ProgressiveGAN(PlainNetwork):
    """``mapping`` (z as it is) and ``synthesis`` (codes [B, 1, Z] -> picture); randomly initialised from ``generator``.

    Same calls as :class:`StyleGAN2`. The layers of the synthesis are counted by ``len(synthesis.layers)`` on both.
    """

    def __init__(self, config: ProgressiveConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        rng = generator if generator is not None else torch.Generator().manual_seed(0)
        self.config = config
        self.mapping = PlainMapping(config)
        self.synthesis = ProgressiveSynthesis(config, rng)


class PlainMapping(nn.Module):
    """z [B, Z] -> z: the first layer's pixel norm does what another mapping would begin with."""

    def __init__(self, config: ProgressiveConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("w_avg", torch.zeros(config.z_dim))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return z [B, Z] as it is.

        Raises:
            InputError: another shape.
        """
        if z.ndim != 2 or z.shape[1] != self.config.z_dim:
            raise InputError(f"z has shape {tuple(z.shape)}; this generator expects [B, {self.config.z_dim}].")
        return z


class ScaledConv(nn.Module):
    """Pixel norm, doubling, convolution, bias, activation: one layer of the published network."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,  # 4: the first layer, which makes 4 x 4 pixels of one; 3; 1: colours
        rng: torch.Generator,
        up: bool = False,  # nearest doubling before the convolution
    ) -> None:
        super().__init__()
        self.up, self.padding, self.is_rgb = up, {4: 3, 3: 1, 1: 0}[kernel], kernel == 1
        # Equalised learning rate: weights of unit variance, He's constant at run time; gain 1 for colours.
        self.scale = (1.0 if self.is_rgb else math.sqrt(2.0)) / (kernel * math.sqrt(in_channels))
        self.weight = nn.Parameter(normal_init(rng, out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, h, w] -> [B, O, H, W]."""
        x = x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = F.conv2d(x, (self.weight * self.scale).to(x.dtype), self.bias.to(x.dtype), padding=self.padding)
        return x if self.is_rgb else F.leaky_relu(x, 0.2)


class ProgressiveSynthesis(nn.Module):
    """Codes [B, 1, Z] -> picture [B, 3, H, W]."""

    def __init__(self, config: ProgressiveConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.layers: list[tuple[int, str]] = []  # layer index -> (block index, module name)
        in_channels = config.z_dim
        for block, out_channels in enumerate(config.channels):
            for second in (False, True):
                name = f"layer{len(self.layers) + 1}"
                kernel = 4 if not self.layers else 3
                conv = ScaledConv(in_channels, out_channels, kernel, rng, up=block > 0 and not second)
                setattr(self, name, conv)
                self.layers.append((block, name))
                in_channels = out_channels
        self.output = ScaledConv(in_channels, config.img_channels, 1, rng)

    def conv(self, layer: int) -> ScaledConv:
        """Return the module of a layer."""
        return getattr(self, self.layers[layer][1])

    def layer_size(self, layer: int) -> tuple[int, int, int]:
        """Return (channels, height, width) of a layer's features."""
        block, _ = self.layers[check_layer(layer, len(self.layers))]
        size = _START * 2**block
        return (self.config.channels[block], size, size)

    def margin(self, layer: int) -> int:
        """Return 0: features end where the picture does."""
        return 0

    def forward(self, ws: Tensor, options: SynthesisOptions | None = None) -> SynthesisResult:
        """Draw codes.

        Args:
            ws: [B, 1, Z].
            options: of the run. The network has no noise, so a noise is checked and has no effect.

        Returns:
            The picture [B, 3, H, W], or the state of the layer at which the run stops.

        Raises:
            InputError: options that do not fit, a smaller picture, or a blend of rows.
        """
        options = options or SynthesisOptions()
        self._check(ws, options)
        dtype, resume = options.dtype or ws.dtype, options.resume
        features: dict[int, Tensor] = {}
        x = rearrange(ws, "b 1 z -> b z 1 1") if resume is None else resume.features
        x = x.to(dtype)
        for layer in range(max(options.first_layer - 1, 0), len(self.layers)):
            if layer >= options.first_layer:
                x = hooked(options.hook, layer, self.conv(layer)(x))
                if layer in options.want_features:
                    features[layer] = x
            if layer == options.stop_layer:
                return SynthesisResult(None, features, LayerState(layer, x, None, box=options.box))
        image = self.output(x)
        return SynthesisResult(image.to(torch.promote_types(image.dtype, torch.float32)), features)

    def _check(self, ws: Tensor, options: SynthesisOptions) -> None:
        """Raise InputError for options that no Progressive GAN can follow."""
        height = self.config.resolution[0]
        if options.stop_resolution not in (None, height):
            raise InputError(
                f"A Progressive GAN has a picture at its full height of {height} alone; cannot stop at "
                f"{options.stop_resolution}. It must run whole."
            )
        if options.blend is not None:
            raise InputError("A Progressive GAN has one row of codes; rows of two codes cannot be mixed.")
        check_run(self, ws, options, len(self.layers) - 1)
