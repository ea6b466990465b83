"""LPIPS (1801.03924, version 0.1) on VGG16 (1409.1556): how different two pictures look.

Features of five layers are brought to unit length at every position; the squared differences of two pictures, weighed
by a number for each channel, are averaged over positions and summed over layers. Without learned weights every channel
counts alike, which the paper calls the baseline. Parameter names are torchvision's and LPIPS'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, InputError

PERCEPTUAL = "perceptual"  # the kind in a file's header
# Torchvision's numbers of the convolutions, and of those before which the map is halved; after these layers features
# are compared.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_HALVED_BEFORE = (5, 10, 17, 24)
COMPARED = (2, 7, 14, 21, 28)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in -1..1, as LPIPS has them
_LARGEST = 256  # px: larger pictures are averaged to it, as StyleGAN's projectors do
_SMALLEST = 16  # px: five layers, four halvings


@dataclass(frozen=True)
class PerceptualConfig:
    """Channels of the thirteen convolutions; the defaults are VGG16's."""

    channels: tuple[int, ...] = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)

    def __post_init__(self) -> None:
        if len(self.channels) != len(CONVOLUTIONS) or not all(1 <= width <= 4096 for width in self.channels):
            raise CheckpointError(f"VGG16 has thirteen convolutions; got the channels {self.channels}.")

    def to_json(self) -> dict:
        """Return a JSON-ready dict; :meth:`from_json` reverses it."""
        return {"kind": PERCEPTUAL, "channels": list(self.channels)}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> PerceptualConfig:
        """Build a config from JSON, names and types checked.

        Raises:
            CheckpointError: names the field that is wrong.
        """
        channels = values.get("channels")
        if set(values) - {"kind", "channels"} or not isinstance(channels, list):
            raise CheckpointError("the perceptual network's config has other fields than 'channels'")
        if not all(type(width) is int for width in channels):
            raise CheckpointError("the perceptual network's config field 'channels' must hold whole numbers")
        return cls(tuple(channels))


@dataclass(frozen=True, eq=False)
class PerceptualTarget:
    """Pictures to compare with, as features: five maps [B, C, h, w], and where they count."""

    features: tuple[Tensor, ...]
    weights: tuple[Tensor, ...] | None  # [B or 1, 1, h, w] each; None: everywhere


class PerceptualNetwork(nn.Module):
    """Pictures [B, 3, H, W] in -1..1 in pairs -> how different they look [B]."""

    def __init__(self, config: PerceptualConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PerceptualConfig()
        self.features = nn.ModuleDict()
        channels = 3
        for number, width in zip(CONVOLUTIONS, config.channels, strict=True):
            self.features[str(number)] = nn.Conv2d(channels, width, 3, 1, 1)
            channels = width
        widths = dict(zip(CONVOLUTIONS, config.channels, strict=True))
        for k, number in enumerate(COMPARED):
            self.register_buffer(f"lin{k}", torch.ones(widths[number]))

    def target(self, pictures: Tensor, mask: Tensor | None = None) -> PerceptualTarget:
        """Prepare pictures for comparison.

        Args:
            pictures: [B, 3, H, W].
            mask: [B or 1, 1, H, W], where they count; None: everywhere.
        """
        features = self.layers(pictures)
        if mask is None:
            return PerceptualTarget(features, None)
        mask = mask.to(features[0])
        return PerceptualTarget(features, tuple(F.adaptive_avg_pool2d(mask, tuple(x.shape[2:])) for x in features))

    def distance(self, pictures: Tensor, target: PerceptualTarget) -> Tensor:
        """Return how different pictures [B, 3, H, W] look from a target of the same size: [B]."""
        total = None
        for k, (x, y) in enumerate(zip(self.layers(pictures), target.features, strict=True)):
            weight = getattr(self, f"lin{k}").to(x)
            difference = torch.einsum("bchw,c->bhw", (x - y).square(), weight)
            if target.weights is None:
                layer = difference.mean(dim=(1, 2))
            else:
                counted = target.weights[k][:, 0].expand_as(difference)
                layer = (difference * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1e-6)
            total = layer if total is None else total + layer
        return total

    def layers(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return the five maps of unit vectors [B, C, h, w].

        Raises:
            InputError: another shape, or pictures that are too small.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < _SMALLEST:
            raise InputError(f"The pictures have shape {list(pictures.shape)}; expected [B, 3, H, W] from 16 px on.")
        first = self.features["0"].weight
        x = _at_most(pictures.to(first), _LARGEST)
        shift, scale = (x.new_tensor(numbers)[:, None, None] for numbers in (_SHIFT, _SCALE))
        x = (x - shift) / scale
        maps = []
        for number in CONVOLUTIONS:
            if number in _HALVED_BEFORE:
                x = F.max_pool2d(x, 2)
            x = F.relu(self.features[str(number)](x))
            if number in COMPARED:
                # The tiny number lies inside the root, too, or a position without features would have no gradient.
                maps.append(x / ((x.square().sum(dim=1, keepdim=True) + 1e-20).sqrt() + 1e-10))
        return tuple(maps)


def _at_most(pictures: Tensor, largest: int) -> Tensor:
    """Average [B, C, H, W] to ``largest`` pixels along the longer side, where it is longer."""
    longest = max(pictures.shape[2:])
    if longest <= largest:
        return pictures
    return F.adaptive_avg_pool2d(pictures, [max(_SMALLEST, round(s * largest / longest)) for s in pictures.shape[2:]])
