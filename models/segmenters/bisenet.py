"""BiSeNet (1808.00897) on ResNet 18 as it parses faces: a soft mask for each part of a portrait.

The form of face-parsing.PyTorch, which most projects around StyleGAN use: features of a sixteenth and a thirty-second
of the size, weighed by what the whole picture holds, are fused with those of an eighth. Parameter names are its own, so
that converted checkpoints load as they are; the two heads that only train are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config_fields import config_fields
from ..encoders.irse import FixedNorm
from ..errors import CheckpointError, InputError

# Of CelebAMask-HQ, in the order of the published network.
FACE_PARTS = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "left ear", "right ear",
    "earring", "nose", "mouth", "upper lip", "lower lip", "neck", "necklace", "cloth", "hair", "hat",
)  # fmt: skip
_SIZE = 512  # px, that pictures are seen at
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's colours in 0..1


@dataclass(frozen=True)
class SegmenterConfig:
    """Dimensions; the defaults are the published ones."""

    names: tuple[str, ...] = FACE_PARTS
    widths: tuple[int, ...] = (64, 64, 128, 256, 512)  # of the first convolution and the four stages
    context: int = 128  # channels of the context
    fused: int = 256  # of the fusion
    head: int = 256
    size: int = _SIZE

    def __post_init__(self) -> None:
        numbers = (*self.widths, self.context, self.fused, self.head, self.size)
        if len(self.widths) != 5 or not all(1 <= n <= 4096 for n in numbers) or self.size % 32:
            raise CheckpointError(f"A segmenter beyond any size in use: {numbers}.")
        if not 2 <= len(self.names) <= 1000 or len(set(self.names)) != len(self.names):
            raise CheckpointError("A segmenter has 2 to 1000 parts whose names differ.")

    def to_json(self) -> dict:
        """Return a JSON-ready dict; :meth:`from_json` reverses it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> SegmenterConfig:
        """Build a config from JSON, names and types checked.

        Raises:
            CheckpointError: names the field that is wrong.
        """
        return cls(**config_fields(cls, values, "segmenter"))  # type: ignore[arg-type]


class FaceSegmenter(nn.Module):
    """Pictures [B, 3, H, W] in -1..1 -> soft masks [B, P, h, w] that sum to 1, at an eighth of 512 pixels."""

    def __init__(self, config: SegmenterConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SegmenterConfig()
        self.names = config.names
        self.cp = _ContextPath(config)
        self.ffm = _Fusion(config.widths[2] + config.context, config.fused)
        self.conv_out = _Head(config.fused, config.head, len(config.names))

    def forward(self, pictures: Tensor) -> Tensor:
        """Segment pictures [B, 3, H, W] -> [B, P, h, w] in 0..1."""
        return torch.softmax(self.logits(pictures), dim=1)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return what the masks are made of, [B, P, h, w].

        Raises:
            InputError: another shape.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or 0 in pictures.shape:
            raise InputError(f"The pictures have shape {list(pictures.shape)}; expected [B, 3, H, W].")
        x = pictures.to(self.conv_out.conv_out.weight)
        size = (self.config.size, self.config.size)
        if x.shape[2:] != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        mean, spread = (x.new_tensor(numbers)[:, None, None] for numbers in (_MEAN, _SPREAD))
        eighth, context = self.cp((x * 0.5 + 0.5 - mean) / spread)
        return self.conv_out(self.ffm(torch.cat([eighth, context], dim=1)))


class _ConvNorm(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, in_channels: int, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, kernel, 1, kernel // 2, bias=False)
        self.bn = FixedNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Basic residual block of ResNet 18."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = FixedNorm(width), FixedNorm(width)
        self.downsample = None
        if in_channels != width or stride != 1:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, width, 1, stride, bias=False), FixedNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class _ResNet(nn.Module):
    """ResNet 18 (1512.03385): maps of an eighth, a sixteenth and a thirty-second."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = FixedNorm(widths[0])
        for k in range(1, 5):
            blocks = (_Block(widths[k - 1], widths[k], 1 if k == 1 else 2), _Block(widths[k], widths[k], 1))
            setattr(self, f"layer{k}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.layer1(F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1))
        eighth = self.layer2(x)
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class _Attention(nn.Module):
    """Channels weighed by the mean of the map."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = _ConvNorm(in_channels, width)
        self.conv_atten = nn.Conv2d(width, width, 1, bias=False)
        self.bn_atten = FixedNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(x.mean(dim=(2, 3), keepdim=True))))


class _ContextPath(nn.Module):
    """Pictures -> features of an eighth of the size, and what the picture holds as a whole at the same size."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.resnet, width = _ResNet(config.widths), config.context
        self.arm16, self.arm32 = _Attention(config.widths[3], width), _Attention(config.widths[4], width)
        self.conv_head32, self.conv_head16 = _ConvNorm(width, width), _ConvNorm(width, width)
        self.conv_avg = _ConvNorm(config.widths[4], width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        eighth, sixteenth, last = self.resnet(x)
        context = self.arm32(last) + self.conv_avg(last.mean(dim=(2, 3), keepdim=True))
        context = self.conv_head32(F.interpolate(context, sixteenth.shape[2:], mode="nearest"))
        context = self.arm16(sixteenth) + context
        return eighth, self.conv_head16(F.interpolate(context, eighth.shape[2:], mode="nearest"))


class _Fusion(nn.Module):
    """Feature fusion: a projection, and its channels weighed once more."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.convblk = _ConvNorm(in_channels, width, 1)
        inner = max(1, width // 4)
        self.conv1, self.conv2 = nn.Conv2d(width, inner, 1, bias=False), nn.Conv2d(inner, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convblk(x)
        return x + x * torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean(dim=(2, 3), keepdim=True)))))


class _Head(nn.Module):
    """Features to a number for each part."""

    def __init__(self, in_channels: int, width: int, parts: int) -> None:
        super().__init__()
        self.conv = _ConvNorm(in_channels, width)
        self.conv_out = nn.Conv2d(width, parts, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))
