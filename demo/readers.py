"""Regression networks for portraits: a plain one for features, a residual one for grading and identity.

The two kinds share nothing, not even the normalisation: the grader must not be fooled by what trains.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.checkpoint import parse_json, read_safetensors, write_safetensors
from ..models.errors import CheckpointError

READER_SIZE = 64  # pixels of the square picture that every reader sees


@dataclass(frozen=True)
class ReaderConfig:
    """Architecture of a reader."""

    architecture: str  # "plain" or "residual"
    width: int  # channels of the first layer; they double at each of the four halvings, up to eightfold
    outputs: int  # numbers read from a picture
    hidden: int = 256


class PortraitReader(nn.Module):
    """Regression network: pictures ``[B, 3, H, W]`` in -1..1, any size -> ``[B, outputs]``."""

    def __init__(self, config: ReaderConfig):
        super().__init__()
        self.config = config
        widths = [config.width * k for k in (1, 2, 4, 8)]
        if config.architecture == "plain":
            self.stages = _plain_stages(widths)
        elif config.architecture == "residual":
            self.stages = _residual_stages(widths)
        else:
            raise ValueError(f"architecture: expected 'plain' or 'residual', got {config.architecture!r}")
        self.head = nn.Sequential(
            nn.Linear(widths[-1] * 16, config.hidden), nn.SiLU(), nn.Linear(config.hidden, config.outputs)
        )

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute the four stages' outputs ``[B, C, h, w]`` for ``[B, 3, H, W]``, at 32, 16, 8 and 4 pixels."""
        x = resize(images, READER_SIZE).contiguous(memory_format=torch.channels_last)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels

    def forward(self, images: Tensor) -> Tensor:
        """Read ``[B, outputs]`` from pictures ``[B, 3, H, W]`` in -1..1."""
        return self.head(rearrange(self.features(images)[-1], "b c h w -> b (c h w)"))


def resize(images: Tensor, size: int) -> Tensor:
    """Resize ``[B, C, H, W]`` to ``[B, C, size, size]`` without aliasing; of what is not square, the middle."""
    height, width = images.shape[-2:]
    crop = min(height, width)
    top, left = (height - crop) // 2, (width - crop) // 2
    images = images[..., top : top + crop, left : left + crop]
    if crop == size:
        return images
    if crop == 2 * size:
        return F.avg_pool2d(images, 2)
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def save_reader(path: Path, reader: PortraitReader, kind: str, provenance: dict) -> None:
    """Write a reader in half precision; ``kind`` is "oracle", "identity" or "features"."""
    tensors = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in reader.state_dict().items()
    }
    write_safetensors(path, tensors, kind, asdict(reader.config), provenance, None)


def load_reader(path: Path, kind: str) -> PortraitReader:
    """Read a file of ``save_reader``: in float32, frozen, in evaluation mode.

    Raises:
        CheckpointError: when the file is missing, damaged, or of another kind.
    """
    tensors, metadata = read_safetensors(path, kind)
    try:
        reader = PortraitReader(ReaderConfig(**parse_json(metadata, "config", path)))
        reader.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path.name}: its contents do not form a '{kind}' network ({error}).") from None
    return reader.eval().requires_grad_(False)


def _plain_stages(widths: list[int]) -> nn.ModuleList:
    def layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )

    stages, previous = nn.ModuleList(), 3
    for k, width in enumerate(widths):
        outputs = widths[min(k + 1, 3)]
        stages.append(nn.Sequential(layer(previous, width, 1), layer(width, outputs, 2)))
        previous = outputs
    return stages


def _residual_stages(widths: list[int]) -> nn.ModuleList:
    stages, previous = nn.ModuleList(), 3
    for width in widths:
        stages.append(nn.Sequential(nn.Conv2d(previous, width, 4, 2, 1), _ResidualBlock(width)))
        previous = width
    return stages


class _ResidualBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, 1, 1)
        self.norm2, self.conv2 = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))
