"""IR-SE encoders of real photographs: e4e (2102.02766) and pixel2style2pixel (2008.00951).

Both are a residual face network (improved ResNet with squeeze-and-excitation, IR-SE 50) whose maps of three sizes feed
one small head per row of W+. e4e's first head gives one code for all rows and the others add an offset to theirs;
each head of pixel2style2pixel gives its row; the third kind has a single head for all. Parameter names are the
projects' own, so that converted checkpoints load as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from einops import reduce, repeat
from torch import Tensor, nn

from ..config_fields import config_fields
from ..errors import CheckpointError
from ..gan.generator import GanGenerator
from .base import PictureEncoder

IRSE = "irse"  # the encoder's kind in a file's header
HEADS = ("e4e", "psp", "single")
_REDUCTION = 16  # of the squeeze


@dataclass(frozen=True)
class IrseConfig:
    """Dimensions; all but the number of rows are the same in every published checkpoint."""

    num_layers: int  # L
    heads: str = "e4e"  # one of HEADS
    size: tuple[int, int] = (256, 256)  # height, width of its input; cars are seen at 192 x 256
    widths: tuple[int, ...] = (64, 64, 128, 256, 512)  # of the input layer and the four stages
    units: tuple[int, ...] = (3, 4, 14, 3)  # residual units of each stage
    w_dim: int = 512  # D
    squeeze: bool = True  # IR-SE; False: IR
    coarse: int = 3  # the rows before this one look at the smallest map,
    middle: int = 7  # those before this one at the next
    adds_mean: bool = True  # codes are offsets from the mean of W
    own_mean: bool = True  # the file holds that mean; else the generator's is taken

    def __post_init__(self) -> None:
        numbers = (self.num_layers, self.w_dim, *self.size, *self.widths, *self.units)
        if self.heads not in HEADS or len(self.size) != 2 or len(self.widths) != 5 or len(self.units) != 4:
            raise CheckpointError(f"An encoder of this kind has heads {', '.join(HEADS)}, five widths and four stages.")
        if not all(1 <= number <= 4096 for number in numbers) or sum(self.units) > 200:
            raise CheckpointError(f"An encoder beyond any size in use: {numbers}.")
        if max(self.size) < 32 or any(s % 16 for s in self.size) or self.num_layers > 64:
            raise CheckpointError(f"An encoder sees multiples of 16 pixels, and has at most 64 rows; got {self.size}.")

    def to_json(self) -> dict:
        """Return a JSON-ready dict; :meth:`from_json` reverses it."""
        return {"kind": IRSE, **asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> IrseConfig:
        """Build a config from JSON, names and types checked.

        Raises:
            CheckpointError: names the field that is wrong.
        """
        arguments = config_fields(cls, values, "encoder")
        if "num_layers" not in arguments:
            raise CheckpointError("the encoder's config lacks num_layers")
        return cls(**arguments)  # type: ignore[arg-type]


class IrseEncoder(PictureEncoder):
    """IR-SE network with one head per row: pictures [B, 3, H, W] in -1..1 -> codes [B, L, D]."""

    per_pass = 8  # the widest maps of a picture take 17 MB

    def __init__(self, config: IrseConfig, family: str = "") -> None:
        super().__init__()
        self.config, self.family = config, family
        stem, *stages = config.widths
        self.input_layer = nn.Sequential(nn.Conv2d(3, stem, 3, 1, 1, bias=False), FixedNorm(stem), nn.PReLU(stem))
        units: list[nn.Module] = []
        channels = stem
        for width, count in zip(stages, config.units, strict=True):
            for index in range(count):
                units.append(ResidualUnit(channels, width, 1 if index else 2, config.squeeze))
                channels = width
        self.body = nn.Sequential(*units)
        self.stage_ends = [sum(config.units[: k + 1]) - 1 for k in range(4)]
        if config.heads == "single":
            self.linear = _ScaledLinear(channels, config.w_dim)
        else:
            halvings = (max(config.size) // 16).bit_length() - 1  # of the smallest map, to one pixel
            self.styles = nn.ModuleList(
                _Head(channels, config.w_dim, halvings + (row >= config.coarse) + (row >= config.middle))
                for row in range(config.num_layers)
            )
            self.latlayer1 = nn.Conv2d(stages[2], channels, 1)
            self.latlayer2 = nn.Conv2d(stages[1], channels, 1)
        self.register_buffer("w_mean", torch.zeros(config.num_layers, config.w_dim))

    def forward(self, images: Tensor) -> Tensor:
        """Predict codes [B, L, D] of [B, 3, H, W], without the generator's mean where the file has none of its own."""
        config = self.config
        x = self.input_layer(self._crop_and_resize(images))
        ends: list[Tensor] = []
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in self.stage_ends:
                ends.append(x)
        if config.heads == "single":
            w = repeat(self.linear(reduce(x, "b c h w -> b c", "mean")), "b d -> b l d", l=config.num_layers)
            return w + self.w_mean
        middle = _add_upsampled(ends[3], self.latlayer1(ends[2]))
        fine = _add_upsampled(middle, self.latlayer2(ends[1]))
        rows = [
            head(ends[3] if row < config.coarse else middle if row < config.middle else fine)
            for row, head in enumerate(self.styles)
        ]
        w = torch.stack(rows, dim=1)
        if config.heads == "e4e":  # the first head speaks for all rows, the others add to theirs
            w = torch.cat([w[:, :1], w[:, :1] + w[:, 1:]], dim=1)
        return w + self.w_mean

    def encode_batch(self, pictures: Tensor, generator: GanGenerator) -> Tensor:
        """Predict codes [B, L, D] of [B, 3, H, W], the generator's mean added where the file has none of its own."""
        codes = self(pictures)
        if self.config.adds_mean and not self.config.own_mean:
            codes = codes + generator.w_mean.to(codes)
        return codes

    def _crop_and_resize(self, images: Tensor) -> Tensor:
        """Crop the middle in the aspect of the encoder's input, and bring it to its size."""
        height, width = self.config.size
        full_height, full_width = images.shape[2:]
        crop_height = min(full_height, full_width * height // width)
        crop_width = min(full_width, full_height * width // height)
        top, left = (full_height - crop_height) // 2, (full_width - crop_width) // 2
        images = images[..., top : top + crop_height, left : left + crop_width]
        if images.shape[2:] == (height, width):
            return images
        return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)


class ResidualUnit(nn.Module):
    """Residual unit: norm, two convolutions, norm, squeeze-and-excitation, beside a shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        if in_channels == width:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)  # every stride-th pixel
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(in_channels, width, 1, stride, bias=False), FixedNorm(width))
        layers = [
            FixedNorm(in_channels),
            nn.Conv2d(in_channels, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            FixedNorm(width),
        ]
        self.res_layer = nn.Sequential(*layers, *([_Squeeze(width)] if squeeze else []))

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class FixedNorm(nn.Module):
    """Batch norm as it is after training: by the statistics in the file."""

    def __init__(self, width: int, affine: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class _Squeeze(nn.Module):
    """Squeeze-and-excitation (1709.01507): channels weighed by the mean of the map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // _REDUCTION)
        self.fc1, self.fc2 = nn.Conv2d(width, inner, 1, bias=False), nn.Conv2d(inner, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(pooled))))


class _ScaledLinear(nn.Module):
    """Linear layer with equalised learning rate (1710.10196): the weights' scale is applied at run time."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(width, in_channels)), nn.Parameter(torch.zeros(width))
        if not self.weight.is_meta:
            nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight / math.sqrt(self.weight.shape[1]), self.bias)


class _Head(nn.Module):
    """Head of one row of W+: a map halved down to one pixel, then a linear layer."""

    def __init__(self, in_channels: int, width: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(halvings):
            layers += [nn.Conv2d(width if index else in_channels, width, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = _ScaledLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))


def _add_upsampled(small: Tensor, large: Tensor) -> Tensor:
    """Add a coarser map, enlarged, to the finer one: a step of a feature pyramid (1612.03144)."""
    return F.interpolate(small, large.shape[2:], mode="bilinear", align_corners=True) + large
