"""StyleGAN3 (2106.12423, configurations T and R) as NVlabs publish it, opened up for editing as StyleGAN2 is.

Layer 0 is the input: Fourier features, which row 0 of W+ turns and shifts. Layer k is the k-th convolution, and row k
feeds it; the last row feeds the colours. There is no noise, and no smaller picture on the way. A map reaches a margin
beyond the picture (`margin`); what is compared with positions of the picture is cut to it first (`picture_part`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from .hooks import hooked
from .network import PlainNetwork
from .stylegan2 import MappingNetwork
from .stylegan2_layers import FullyConnectedLayer
from .stylegan3_config import ALIAS_FREE, StyleGAN3Config
from .stylegan3_layers import AliasFreeLayer, ColourLayer, FourierInput
from .synthesis_run import LayerState, SynthesisOptions, SynthesisResult, check_layer, check_run

__all__ = ["ALIAS_FREE", "StyleGAN3", "StyleGAN3Config"]


class AliasFreeSynthesis(nn.Module):
    """Rows of W+ [B, L, D] -> picture [B, 3, H, W]."""

    def __init__(self, config: StyleGAN3Config, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.sampling = config.sampling()
        self.input = FourierInput(config, rng)
        self.layers: list[tuple[int, str]] = [(0, "input")]  # layer index -> (its own index, module name)
        for k in range(config.num_blocks):
            before, after = self.sampling[k], self.sampling[k + 1]
            in_channels, out_channels = config.channels[k], config.channels[k + 1]
            critical = k >= config.num_blocks - config.critical_layers
            name = f"L{k}_{after.size}_{out_channels}"
            setattr(self, name, AliasFreeLayer(config, in_channels, out_channels, before, after, critical, rng))
            self.layers.append((k + 1, name))
        self.colour_name = f"L{config.num_blocks}_{self.sampling[-1].size}_{config.img_channels}"
        setattr(self, self.colour_name, ColourLayer(config, config.channels[-1], rng))

    def conv(self, layer: int) -> FourierInput | AliasFreeLayer:
        """Return the module of a layer."""
        return getattr(self, self.layers[layer][1])

    def style(self, row: int) -> FullyConnectedLayer:
        """Return what a row of W+ feeds first."""
        return (self.conv(row) if row < len(self.layers) else getattr(self, self.colour_name)).affine

    def layer_size(self, layer: int) -> tuple[int, int, int]:
        """Return (channels, height, width) of a layer's features, the margin included."""
        size = self.sampling[check_layer(layer, len(self.layers))].size
        return (self.config.channels[layer], size, size)

    def margin(self, layer: int) -> int:
        """Return how many samples of a layer lie beyond the picture on each side."""
        return self.sampling[check_layer(layer, len(self.layers))].margin

    def forward(self, ws: Tensor, options: SynthesisOptions | None = None) -> SynthesisResult:
        """Draw rows of W+.

        Args:
            ws: [B, L, D].
            options: of the run. The network has no noise, so a noise is checked and has no effect.

        Returns:
            The picture [B, 3, H, W], or the state of the layer at which the run stops.

        Raises:
            InputError: codes or options that do not fit, a smaller picture, a part of one, or a blend of two codes.
        """
        options = options or SynthesisOptions()
        self._check(ws, options)
        dtype, features = options.dtype or ws.dtype, {}
        x = None if options.resume is None else options.resume.features.to(dtype)
        for layer in range(max(options.first_layer - 1, 0), len(self.layers)):
            if layer >= options.first_layer:
                x = self.input(ws[:, 0]).to(dtype) if layer == 0 else self.conv(layer)(x, ws[:, layer])
                x = hooked(options.hook, layer, x)
                if layer in options.want_features:
                    features[layer] = x
            if layer == options.stop_layer:
                return SynthesisResult(None, features, LayerState(layer, x, None))
        image = getattr(self, self.colour_name)(x, ws[:, -1])
        image = image.to(torch.promote_types(image.dtype, torch.float32)) * self.config.output_scale
        return SynthesisResult(image, features)

    def _check(self, ws: Tensor, options: SynthesisOptions) -> None:
        """Raise InputError for options that no StyleGAN3 can follow."""
        height = self.config.image_size
        if options.stop_resolution not in (None, height):
            raise InputError(
                f"A StyleGAN3 has a picture at its full height of {height} alone; cannot stop at "
                f"{options.stop_resolution}. It must run whole."
            )
        if options.blend is not None:
            raise InputError("A StyleGAN3 draws one code for the whole picture; rows of two codes cannot be mixed.")
        if options.box is not None:
            raise InputError("A StyleGAN3 draws whole pictures; it cannot go on from a part of one.")
        check_run(self, ws, options, len(self.layers) - 1)


class StyleGAN3(PlainNetwork):
    """``mapping`` (z -> w) and ``synthesis`` (rows of W+ -> picture); randomly initialised from ``generator``."""

    def __init__(self, config: StyleGAN3Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        rng = generator if generator is not None else torch.Generator().manual_seed(0)
        self.config = config
        self.mapping = MappingNetwork(config, rng)
        self.synthesis = AliasFreeSynthesis(config, rng)
