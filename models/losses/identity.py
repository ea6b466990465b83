"""ArcFace (1801.07698) on an improved ResNet (IR-SE 50 and its kin): whether two pictures show the same face.

Crop and sizes are those of pixel2style2pixel and StyleCLIP: the middle 188 of an aligned portrait's 256 pixels, at 112.
Parameter names are the published ones, so that converted checkpoints load as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ..config_fields import config_fields
from ..encoders.irse import FixedNorm, ResidualUnit
from ..errors import CheckpointError, InputError

IDENTITY = "identity"  # the kind in a file's header
_PICTURE = 256  # px, of the aligned portrait
_ROWS, _COLUMNS = slice(35, 223), slice(32, 220)  # of it, the face


@dataclass(frozen=True)
class IdentityConfig:
    """Dimensions; the defaults are IR-SE 50's."""

    widths: tuple[int, ...] = (64, 64, 128, 256, 512)  # of the input layer and the four stages
    units: tuple[int, ...] = (3, 4, 14, 3)  # residual units of each stage
    embedding: int = 512
    size: int = 112  # px, of the face
    squeeze: bool = True  # IR-SE; False: IR
    affine: bool = True  # whether the last norm has a scale and a bias

    def __post_init__(self) -> None:
        if len(self.widths) != 5 or len(self.units) != 4 or self.size not in (32, 112, 224):
            raise CheckpointError("A face recogniser of this kind has four stages and sees faces of 112 or 224 pixels.")
        if not all(1 <= n <= 4096 for n in (*self.widths, *self.units, self.embedding)) or sum(self.units) > 200:
            raise CheckpointError(f"A face recogniser beyond any size in use: {self.widths}, {self.units}.")

    def to_json(self) -> dict:
        """Return a JSON-ready dict; :meth:`from_json` reverses it."""
        return {"kind": IDENTITY, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> IdentityConfig:
        """Build a config from JSON, names and types checked.

        Raises:
            CheckpointError: names the field that is wrong.
        """
        return cls(**config_fields(cls, values, "face recogniser"))  # type: ignore[arg-type]


class IdentityNetwork(nn.Module):
    """Pictures [B, 3, H, W] in -1..1 -> unit vectors [B, E]: their products are near 1 for the same face."""

    def __init__(self, config: IdentityConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or IdentityConfig()
        stem, *stages = config.widths
        self.input_layer = nn.Sequential(nn.Conv2d(3, stem, 3, 1, 1, bias=False), FixedNorm(stem), nn.PReLU(stem))
        units: list[nn.Module] = []
        channels = stem
        for width, count in zip(stages, config.units, strict=True):
            for index in range(count):
                units.append(ResidualUnit(channels, width, 1 if index else 2, config.squeeze))
                channels = width
        self.body = nn.Sequential(*units)
        # Positions as published: norm, dropout, flattening, a linear layer, norm.
        cells = (config.size // 16) ** 2
        last = FixedNorm(config.embedding, config.affine)
        self.output_layer = nn.Sequential(
            FixedNorm(channels), nn.Identity(), nn.Flatten(), nn.Linear(channels * cells, config.embedding), last
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Embed pictures [B, 3, H, W] -> [B, E].

        Raises:
            InputError: another shape.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or 0 in pictures.shape:
            raise InputError(f"The pictures have shape {list(pictures.shape)}; expected [B, 3, H, W].")
        x = pictures.to(self.output_layer[3].weight)
        x = x if x.shape[2:] == (_PICTURE, _PICTURE) else F.adaptive_avg_pool2d(x, _PICTURE)
        x = F.adaptive_avg_pool2d(x[:, :, _ROWS, _COLUMNS], self.config.size)
        return F.normalize(self.output_layer(self.body(self.input_layer(x))), dim=1)
