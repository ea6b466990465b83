"""Encoder into W+: a network that predicts codes from pictures, one forward pass where an inversion takes hundreds.

The idea of an encoder into W+ as a start for optimisation follows pixel2style2pixel (2008.00951) and e4e (2102.02766):
one shared code, near the mean of W, plus a small offset for each row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..errors import CheckpointError
from ..gan.generator import check_shapes, check_weights
from ..inference import no_inference_mode
from ..printable import printable
from .base import PictureEncoder
from .irse import IRSE, IrseConfig, IrseEncoder


@dataclass(frozen=True)
class EncoderConfig:
    """Dimensions of an encoder."""

    size: int  # pixels of the square picture it sees; others are resized
    width: int  # channels after the first halving; they double at each further one, up to eightfold
    num_layers: int  # L
    w_dim: int  # D
    hidden: int = 512


class Encoder(PictureEncoder):
    """Encoder of the pack's own kind: pictures [B, 3, H, W] in -1..1 -> codes [B, L, D]."""

    def __init__(self, config: EncoderConfig, family: str = "") -> None:
        super().__init__()
        self.config, self.family = config, family
        halvings = config.size.bit_length() - 3  # down to 4 x 4
        if config.size < 16 or config.size != 4 << halvings or min(config.width, config.num_layers, config.w_dim) < 1:
            raise CheckpointError(f"An encoder needs a power of two from 16 as its size, and widths: {config}")
        widths = [config.width * min(8, 2**k) for k in range(halvings)]
        self.stages = nn.ModuleList(
            _Stage(in_channels, channels) for in_channels, channels in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.trunk = nn.Sequential(nn.Linear(widths[-1] * 16, config.hidden), nn.SiLU())
        self.shared = nn.Linear(config.hidden, config.w_dim)
        self.offsets = nn.Linear(config.hidden, config.num_layers * config.w_dim)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)
        self.register_buffer("w_mean", torch.zeros(config.w_dim))
        self.register_buffer("w_scale", torch.ones(config.w_dim))  # standard deviation of each entry of w

    def forward(self, images: Tensor) -> Tensor:
        """Predict codes [B, L, D] of pictures [B, 3, H, W] in -1..1."""
        x = images if images.shape[-2:] == (self.config.size,) * 2 else self._resize(images)
        x = x.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
        x = self.trunk(rearrange(x, "b c h w -> b (c h w)"))
        offsets = rearrange(self.offsets(x), "b (l d) -> b l d", l=self.config.num_layers)
        return self.w_mean + self.w_scale * (self.shared(x)[:, None] + offsets)

    def _resize(self, images: Tensor) -> Tensor:
        size = (self.config.size, self.config.size)
        return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def load_encoder(path: str | Path, device: torch.device | str = "cpu") -> PictureEncoder:
    """Read an encoder of either kind: frozen, in float32, on ``device``.

    Raises:
        CheckpointError: when the file is missing, damaged, or describes no encoder.
    """
    path = Path(path)
    # Outside inference mode, reading included: a module takes no parameters that were made inside.
    with no_inference_mode():
        tensors, metadata = read_safetensors(path, "encoder")
        values, family = parse_json(metadata, "config", path), metadata.get("family", "")
        build = _build_irse if values.get("kind") == IRSE else _build_encoder
        encoder = build(values, family, path)
        check_shapes(encoder, tensors, path, "encoder")
        check_weights(tensors, path)
        encoder.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
        return encoder.eval().requires_grad_(False).to(device)


def save_encoder(
    path: str | Path,
    encoder: PictureEncoder,
    provenance: dict[str, object] | None = None,
    exclusive: bool = False,  # never replace a file; raises TakenError
) -> Path:
    """Write an encoder so that :func:`load_encoder` reads it back; `Encoder` in half precision."""
    if isinstance(encoder, IrseEncoder):
        config = encoder.config.to_json()
        return write_safetensors(path, encoder.state_dict(), "encoder", config, provenance, encoder.family, exclusive)
    tensors = {name: tensor.half() for name, tensor in encoder.state_dict().items()}
    return write_safetensors(path, tensors, "encoder", asdict(encoder.config), provenance, encoder.family, exclusive)


def _build_encoder(values: Mapping[str, object], family: str, path: Path) -> Encoder:
    config = _checked_config(values, path)
    with torch.device("meta"):  # widths of a header may ask for gigabytes
        return Encoder(config, family)


def _build_irse(values: Mapping[str, object], family: str, path: Path) -> IrseEncoder:
    try:
        config = IrseConfig.from_json(values)
    except CheckpointError as problem:
        raise CheckpointError(f"{path.name}: {printable(str(problem))}") from None
    with torch.device("meta"):  # a thousand megabytes that the file replaces
        return IrseEncoder(config, family)


def _checked_config(values: Mapping[str, object], path: Path) -> EncoderConfig:
    names = ("size", "width", "num_layers", "w_dim", "hidden")
    if set(values) - set(names) or not all(type(values.get(name, 512)) is int for name in names):
        raise CheckpointError(f"{path.name}: its header does not describe an encoder: {dict(values)}.")
    if not all(1 <= values.get(name, 512) <= 4096 for name in names):
        raise CheckpointError(f"{path.name}: its header describes an encoder beyond any size in use: {dict(values)}.")
    try:
        return EncoderConfig(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise CheckpointError(f"{path.name}: its header does not describe an encoder ({error}).") from None


class _Stage(nn.Module):
    """Stage of an encoder: halve the size, then one residual block."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, channels, 4, 2, 1)
        self.norm1, self.conv1 = nn.GroupNorm(_groups(channels), channels), nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm2, self.conv2 = nn.GroupNorm(_groups(channels), channels), nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
