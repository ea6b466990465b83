"""Part segmenter: a small U-Net (1505.04597) that labels the parts of a portrait in any picture of one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.checkpoint import parse_json, read_metadata, read_safetensors, write_safetensors
from ..models.errors import CheckpointError
from .portraits.scene import PART_NAMES

SEGMENTER_SIZE = 128


class PartSegmenter(nn.Module):
    """U-Net: pictures ``[B, 3, H, W]`` in -1..1 -> logits ``[B, P, 128, 128]``."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.width = width
        self.stem = _layer(3, width, stride=2)
        self.down = nn.ModuleList([_layer(width, 2 * width, 2), _layer(2 * width, 4 * width, 2)])
        self.deepest = nn.Sequential(_layer(4 * width, 4 * width, 2), _layer(4 * width, 4 * width))
        self.up = nn.ModuleList([_layer(8 * width, 2 * width), _layer(4 * width, width), _layer(2 * width, width)])
        self.head = nn.Conv2d(width, 4 * len(PART_NAMES), 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits ``[B, P, 128, 128]`` of pictures ``[B, 3, H, W]`` in -1..1."""
        size = (SEGMENTER_SIZE, SEGMENTER_SIZE)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
        skips = [self.stem(images.contiguous(memory_format=torch.channels_last))]
        for stage in self.down:
            skips.append(stage(skips[-1]))
        x = self.deepest(skips[-1])
        for stage in self.up:
            x = stage(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], 1))
        return F.pixel_shuffle(self.head(x), 2)

    def masks(self, images: Tensor) -> Tensor:
        """Segment ``[B, 3, H, W]`` in -1..1: soft masks ``[B, P, H, W]`` that sum to one at each pixel."""
        with torch.no_grad():
            masks = torch.cat([self(chunk.clamp(-1, 1)).softmax(1) for chunk in images.split(32)])
        if masks.shape[-2:] != images.shape[-2:]:
            masks = F.interpolate(masks, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)
        return masks


class PartMasks(nn.Module):
    """A part segmenter as nodes ask it: pictures [B, 3, H, W] -> soft masks [B, P, 128, 128], with gradients."""

    names = tuple(PART_NAMES)

    def __init__(self, segmenter: PartSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: Tensor) -> Tensor:
        """Compute masks that sum to one at each pixel."""
        return self.segmenter(images.clamp(-1, 1)).softmax(dim=1)


def save_segmenter(path: Path, segmenter: PartSegmenter, provenance: dict) -> None:
    """Write a segmenter in half precision."""
    tensors = {name: tensor.half() for name, tensor in segmenter.state_dict().items()}
    config = {"width": segmenter.width, "parts": list(PART_NAMES)}
    write_safetensors(path, tensors, "segmenter", config, provenance, None)


def is_part_segmenter(path: Path) -> bool:
    """Tell whether a segmenter's file is one of ``save_segmenter``.

    Raises:
        CheckpointError: when the file is missing, damaged, or of another kind.
    """
    return "parts" in parse_json(read_metadata(path, "segmenter"), "config", path)


def load_segmenter(path: Path) -> PartSegmenter:
    """Read a file of ``save_segmenter``: frozen, in float32.

    Raises:
        CheckpointError: when the file is missing, damaged, or of another kind.
    """
    tensors, metadata = read_safetensors(path, "segmenter")
    try:
        segmenter = PartSegmenter(int(parse_json(metadata, "config", path)["width"]))
        segmenter.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path.name}: its contents do not form a segmenter ({error}).") from None
    return segmenter.eval().requires_grad_(False)


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.SiLU(inplace=True))
