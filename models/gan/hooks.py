"""Synthesis hooks: what paints, adapts or masks features between the layers of a generator."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .crop_box import CropBox

__all__ = ["FunctionHook", "SynthesisHook", "hooked"]


class SynthesisHook(Protocol):
    """Changes the features of a synthesis on their way from one layer to the next.

    Attributes:
        mask: [B or 1, 1, H, W] in 0..1, where it paints: an adapted generator leaves the photo's details out there.
            None: it does not say.
        box: the part of the picture that the features are of; None: all of it.
        layers: the layers that it has to see; None: all.
    """

    @property
    def mask(self) -> Tensor | None: ...

    @property
    def box(self) -> CropBox | None: ...

    @property
    def layers(self) -> Collection[int] | None: ...

    def __call__(self, layer: int, features: Tensor) -> Tensor:
        """Return the features to go on with, [B, C, h, w], from those that a layer has made."""


@dataclass(frozen=True, eq=False)
class FunctionHook:
    """A plain function ``(layer, features) -> features`` as a `SynthesisHook`."""

    function: Callable[[int, Tensor], Tensor]
    mask: Tensor | None = None
    box: CropBox | None = None
    layers: Collection[int] | None = None

    def __call__(self, layer: int, features: Tensor) -> Tensor:
        """Call the function."""
        return self.function(layer, features)


def hooked(hook: SynthesisHook | None, layer: int, features: Tensor) -> Tensor:
    """Apply a hook where it has a word to say.

    Args:
        hook: None changes nothing.
        layer: the layer that has made the features.
        features: [B, C, h, w].

    Returns:
        [B, C, h, w].
    """
    if hook is None or (hook.layers is not None and layer not in hook.layers):
        return features
    return hook(layer, features)
