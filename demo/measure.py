"""Measurement of portraits: their factors, by the oracle, and their identity, by an embedding.

Both networks were trained on renders of their own, apart from anything that makes or edits pictures. They grade; no
optimiser may ever see them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.errors import InputError
from .assets import demo_reader
from .portraits.factors import denormalise_factors

_CHUNK = 64


def measure(pictures: Tensor) -> dict[str, Tensor]:
    """Measure the factors of portraits, on the CPU.

    Args:
        pictures: ``[B, 3, H, W]`` in -1..1, any size from 32 pixels.

    Returns:
        ``{name: [B]}`` in the factors' ranges, on the CPU. ``hat_hue`` means nothing where ``hat`` is below 0.5.

    Raises:
        InputError: for pictures of another shape.
    """
    return denormalise_factors(_read("oracle", pictures))


def identity(pictures: Tensor) -> Tensor:
    """Embed the identity of portraits ``[B, 3, H, W]`` in -1..1 as unit vectors ``[B, 64]``.

    Their dot product is the similarity, from -1 to 1: near 1 for one person under another pose, expression or glasses.

    Raises:
        InputError: for pictures of another shape, or smaller than 32 pixels.
    """
    return F.normalize(_read("identity", pictures), dim=1)


def _read(kind: str, pictures: Tensor) -> Tensor:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[-2:]) < 32:
        raise InputError(f"The pictures have shape {list(pictures.shape)}; expected [B, 3, H, W] of 32 pixels or more.")
    network = demo_reader(kind)
    with torch.no_grad():
        outputs = [network(chunk.to("cpu", torch.float32).clamp(-1, 1)) for chunk in pictures.split(_CHUNK)]
    return torch.cat(outputs) if outputs else pictures.new_zeros(0, network.config.outputs)
