"""StyleGAN3's dimensions (2106.12423, configurations T and R): what a header holds, and each layer's sampling.

Cutoffs and stopbands grow geometrically from the first layer to the first critically sampled one; sampling rates are
the powers of two that hold them (section 3.2). Maps but the last two reach ``margin`` samples beyond the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from ..errors import CheckpointError

__all__ = ["ALIAS_FREE", "LayerSampling", "StyleGAN3Config"]

ALIAS_FREE = "alias-free"  # in a file's header; StyleGAN2's are "skip", "orig" and "resnet"


@dataclass(frozen=True)
class LayerSampling:
    """The sampling of one layer's map, in cycles or samples per picture.

    Args:
        cutoff: where its low-pass passes half.
        half_width: of the transition band.
        rate: samples along a side of the picture.
        size: samples along a side of the map, the margins included.
    """

    cutoff: float
    half_width: float
    rate: int
    size: int

    @property
    def margin(self) -> int:
        """Samples beyond the picture on each side."""
        return max(0, (self.size - self.rate) // 2)


@dataclass(frozen=True)
class StyleGAN3Config:
    """The network's dimensions. ``channels[0]`` are those of the Fourier features, ``channels[k]`` of layer k."""

    z_dim: int
    w_dim: int  # D
    image_size: int  # of the square picture, a power of two
    channels: tuple[int, ...]  # of the input and of all layers but the last, which gives colours
    c_dim: int = 0  # label width
    img_channels: int = 3
    mapping_layers: int = 2
    lr_multiplier: float = 0.01  # of the mapping
    kernel: int = 3  # of the convolutions: 3 in configuration T, 1 in R
    radial: bool = False  # radially symmetric downsampling, as in configuration R
    critical_layers: int = 2  # at the end, sampled as sparsely as the picture allows
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband: float = 2**0.3  # in cutoffs of the last layer
    margin: int = 10
    filter_size: int = 6  # taps for each sample of the lower rate
    lrelu_upsampling: int = 2
    output_scale: float = 0.25
    conv_clamp: float | None = 256.0

    def __post_init__(self) -> None:
        sizes = (self.z_dim, self.w_dim, self.img_channels, self.mapping_layers, *self.channels)
        if not 4 <= len(self.channels) <= 64 or min(sizes) < 1 or max(sizes) > 65536 or self.mapping_layers > 64:
            raise CheckpointError(f"A StyleGAN3 of these dimensions is beyond anything published: {sizes}.")
        size = self.image_size
        if not 16 <= size <= 4096 or size & (size - 1):
            raise CheckpointError(f"A StyleGAN3 draws pictures whose side is a power of two from 16 on; got {size}.")
        if not 0 <= self.c_dim <= 65536 or self.kernel not in (1, 3):
            raise CheckpointError(f"A StyleGAN3 has kernels of 1 or 3; got {self.kernel}, with {self.c_dim} labels.")
        if not 1 <= self.critical_layers < self.num_blocks - 1 or not 0 <= self.margin <= 64:
            raise CheckpointError(
                f"{self.critical_layers} critical layers and a margin of {self.margin} are no StyleGAN3."
            )
        if self.filter_size not in range(2, 17, 2) or self.lrelu_upsampling not in (1, 2, 4):
            raise CheckpointError(
                "A StyleGAN3 has filters of an even number of taps up to 16, and upsamples by 1, 2 or 4."
            )
        positive = (self.lr_multiplier, self.output_scale, 1.0 if self.conv_clamp is None else self.conv_clamp)
        bands = (self.first_cutoff, self.first_stopband / self.first_cutoff, self.last_stopband)
        if not all(0 < value < math.inf for value in positive):
            raise CheckpointError("A StyleGAN3's lr_multiplier, output_scale and conv_clamp must be positive numbers.")
        if not 0 < bands[0] < size / 4 or not all(1 < band < 16 for band in bands[1:]):
            raise CheckpointError(f"A StyleGAN3's stopbands lie above its cutoffs; got {bands}.")

    @property
    def architecture(self) -> str:
        """The name that tells this generator apart from the others."""
        return ALIAS_FREE

    @property
    def num_blocks(self) -> int:
        """How many convolutions follow the Fourier features, the one that gives colours not counted."""
        return len(self.channels) - 1

    @property
    def num_layers(self) -> int:
        """L: rows of W+, one for the input, one for each convolution and one for the colours."""
        return self.num_blocks + 2

    @property
    def resolution(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.image_size, self.image_size

    @property
    def configuration(self) -> str:
        """T (translation) or R (rotation too), as published."""
        return "R" if self.kernel == 1 and self.radial else "T"

    @property
    def embed_features(self) -> int:
        """Width of the embedded label: that of w."""
        return 0

    @property
    def mapping_features(self) -> int:
        """Hidden width of the mapping: that of w."""
        return 0

    @property
    def normalize_z(self) -> bool:
        """z is brought to unit second moment."""
        return True

    @property
    def activation(self) -> str:
        """Of the mapping."""
        return "lrelu"

    def sampling(self) -> list[LayerSampling]:
        """Return the sampling of the input and of every layer, that of the colours last: num_blocks + 2 in all."""
        count, last_cutoff = self.num_blocks, self.image_size / 2
        layers = []
        for k in range(count + 1):
            exponent = min(k / (count - self.critical_layers), 1.0)
            cutoff = self.first_cutoff * (last_cutoff / self.first_cutoff) ** exponent
            last_stopband = last_cutoff * self.last_stopband
            stopband = self.first_stopband * (last_stopband / self.first_stopband) ** exponent
            rate = 2 ** math.ceil(math.log2(min(2 * stopband, self.image_size)))
            size = self.image_size if k >= count - 1 else rate + 2 * self.margin
            layers.append(LayerSampling(cutoff, max(stopband, rate / 2) - cutoff, rate, size))
        return [layers[0], *layers]

    def to_json(self) -> dict:
        """Return a JSON-ready dict; :meth:`from_json` reverses it."""
        return {"architecture": ALIAS_FREE, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> StyleGAN3Config:
        """Read a header's values.

        Raises:
            CheckpointError: an unknown, missing or wrong field, by its name.
        """
        types = {field.name: str(field.type) for field in fields(cls)}
        unknown = sorted(set(values) - set(types) - {"architecture"})
        if unknown:
            raise CheckpointError(f"The generator's config has unknown fields: {', '.join(unknown)}.")
        missing = {"z_dim", "w_dim", "image_size", "channels"} - set(values)
        if missing:
            raise CheckpointError(f"The generator's config lacks: {', '.join(sorted(missing))}.")
        arguments = {name: _checked(name, value, types[name]) for name, value in values.items() if name in types}
        return cls(**arguments)  # type: ignore[arg-type]


def _checked(name: str, value: object, kind: str) -> object:
    """Return a header's value in its field's type."""
    if kind == "int" and type(value) is int or kind == "bool" and type(value) is bool:
        return value
    if kind == "tuple[int, ...]" and isinstance(value, list | tuple) and all(type(v) is int for v in value):
        return tuple(value)
    if kind.startswith("float") and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind == "float | None" and value is None:
        return None
    raise CheckpointError(f"The generator's config field '{name}' has no valid value: {str(value)[:80]!r}.")
