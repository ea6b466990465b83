"""Feature spaces, in which pictures are compared by what they show: a network's features, or the generator's own.

A space is anything that turns pictures into rows of numbers: the encoder that came with a generator, an open_clip
model, a classifier. Where there is no such network, the generator's own features are a space that needs no file, but
only codes have them, not foreign pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.encoders.encoder import Encoder, PictureEncoder
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.pictures import to_rgb
from ..common.progress import Progress

_PER_PASS = 32  # pictures
_CELLS = 4  # rows and columns that the generator's features are averaged to
_MEASURING_HEIGHT = 256  # px: a picture of this height shows all that such networks see

__all__ = ["FeatureSpace", "encoder_space", "generator_space", "measuring_height", "network_space"]


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """One way to read pictures.

    Args:
        name: for people, and to tell spaces apart.
        of_pictures: pictures [B, 3, H, W] in -1..1 -> features [B, ...]; None for the generator's own.
        layers: layers whose features are read, for the generator's own.
        readings: whether each feature has a meaning of its own, as the outputs of a classifier have; an edit then
            changes few of them.
        key: what a cache may keep its features under; left out: the space itself.

    Raises:
        InputError: both pictures and layers are read, or neither.
    """

    name: str
    of_pictures: Callable[[Tensor], Tensor] | None = None
    layers: tuple[int, ...] = ()
    readings: bool = False
    key: object = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.of_pictures is None) == (not self.layers):
            raise InputError("A feature space reads either pictures or layers of the generator.")

    @property
    def sees_pictures(self) -> bool:
        """True where a picture without a code can be read."""
        return self.of_pictures is not None

    def read(self, pictures: Tensor) -> Tensor:
        """Read pictures [B, 3, H, W] in -1..1 -> features [B, F], float32.

        Raises:
            InputError: these are the generator's own features, which only codes have.
        """
        if self.of_pictures is None:
            raise InputError(
                f"'{self.name}' can only be read from codes. To measure pictures, choose an encoder or connect a "
                "scorer; or invert the picture and give its code."
            )
        with torch.no_grad():
            features = [self.of_pictures(batch).float() for batch in pictures.split(_PER_PASS)]
            return torch.cat([rearrange(rows, "b ... -> b (...)") for rows in features])

    def read_codes(
        self,
        generator: GanGenerator,
        codes: Tensor,  # [B, L, D]
        progress: Progress | None = None,  # counts pictures
    ) -> Tensor:
        """Read the pictures that ``generator`` draws from codes: features [B, F], float32."""
        features, done = [], 0
        with torch.no_grad():
            for batch in codes.split(_PER_PASS):
                if self.of_pictures is None:
                    layers = generator.features(batch, self.layers)
                    features.append(torch.cat([_pooled(layers[layer]) for layer in self.layers], dim=1).float())
                else:
                    pictures = generator.synthesize(batch, stop_resolution=measuring_height(generator))
                    features.append(self.read(to_rgb(pictures)).to(generator.device))
                done += len(batch)
                if progress is not None:
                    progress(done, len(codes))
        return torch.cat(features)


def measuring_height(generator: GanGenerator) -> int | None:
    """Return the height at which a synthesis may stop for pictures that are only measured; None: finished ones.

    The skip architecture's early pictures differ from a smaller finished one, the more the smaller they are; so only
    large generators stop early.
    """
    height = generator.resolution[0]
    if height <= _MEASURING_HEIGHT or generator.network.config.architecture != "skip":
        return None
    while height > _MEASURING_HEIGHT:
        height //= 2
    return height


def network_space(
    name: str, read: Callable[[Tensor], Tensor], key: object = None, readings: bool = False
) -> FeatureSpace:
    """Build the space of any network.

    Args:
        read: pictures [B, 3, H, W] in -1..1 -> features [B, ...].
        key, readings: as in `FeatureSpace`.
    """
    return FeatureSpace(name, of_pictures=read, readings=readings, key=key)


def encoder_space(encoder: PictureEncoder, name: str = "encoder") -> FeatureSpace:
    """Build the space of an encoder's last features before its code; it was trained without any label.

    An encoder of another kind has its codes as features, averaged over the rows.
    """
    if not isinstance(encoder, Encoder):
        return FeatureSpace(
            name, of_pictures=lambda pictures: encoder(pictures.to(encoder.w_mean)).mean(dim=1), key=encoder
        )

    def trunk(pictures: Tensor) -> Tensor:
        x = pictures.to(encoder.w_mean)
        size = (encoder.config.size, encoder.config.size)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        x = x.contiguous(memory_format=torch.channels_last)
        for stage in encoder.stages:
            x = stage(x)
        return encoder.trunk(rearrange(x, "b c h w -> b (c h w)"))

    return FeatureSpace(name, of_pictures=trunk, key=encoder)


def generator_space(generator: GanGenerator) -> FeatureSpace:
    """Build the space of the generator's own features of a middle and a late layer, averaged to 4 x 4."""
    count = len(generator.network.synthesis.layers)
    layers = tuple(sorted({count // 2, (3 * count) // 4}))
    return FeatureSpace("the generator's own features", layers=layers, key="own")


def _pooled(features: Tensor) -> Tensor:
    """Average [B, C, h, w] to at most 4 x 4 cells -> [B, F]."""
    cells = (min(_CELLS, features.shape[2]), min(_CELLS, features.shape[3]))
    return rearrange(F.adaptive_avg_pool2d(features, cells), "b c h w -> b (c h w)")
