"""The network of a generator, plain or adapted to photos, as everything outside of this folder sees it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from .synthesis_run import SynthesisOptions, SynthesisResult

__all__ = ["GeneratorNetwork", "PlainNetwork", "Synthesis", "picture_part", "without_margin"]


class Synthesis(Protocol):
    """Codes to pictures, layer by layer.

    Attributes:
        config: the network's dimensions.
        layers: for each layer its block's index and its name there.
    """

    config: object
    layers: list[tuple[int, str]]

    def layer_size(self, layer: int) -> tuple[int, int, int]:
        """Return (channels, height, width) of a layer's features, a margin included."""

    def margin(self, layer: int) -> int:
        """Return how many cells of a layer lie beyond the picture on each side; 0 where features end with it."""

    def __call__(self, ws: Tensor, options: SynthesisOptions | None = None) -> SynthesisResult:
        """Draw codes [B, L, D]."""


class GeneratorNetwork(Protocol):
    """A mapping, a synthesis, and what is known about photos they were adapted to.

    Attributes:
        config: the network's dimensions.
        mapping: z [B, Z] and labels -> w [B, D].
        synthesis: codes [B, L, D] -> pictures [B, 3, H, W].
        base: the network without any adaptation; itself where it has none. It owns the weights.
    """

    config: object
    mapping: nn.Module
    synthesis: Synthesis
    base: nn.Module

    def photos_of(self, codes: Tensor) -> Tensor | None:
        """Return whose photo each code is, [B, L, D] -> [B]; None for a network that is adapted to none."""


def picture_part(synthesis: Synthesis, layer: int, features: Tensor) -> Tensor:
    """Cut features [B, C, h, w] of a layer to the picture: without the margin that a StyleGAN3's reach beyond it."""
    return without_margin(features, synthesis.margin(layer))


def without_margin(features: Tensor, margin: int) -> Tensor:
    """Cut ``margin`` cells off each side of [B, C, h, w]."""
    return features[..., margin:-margin, margin:-margin] if margin else features


class PlainNetwork(nn.Module):
    """A network that no photo has changed: what a `GeneratorNetwork` answers then."""

    @property
    def base(self) -> nn.Module:
        """The network itself."""
        return self

    def photos_of(self, codes: Tensor) -> None:
        """Return None: there are no photos."""
        return None
