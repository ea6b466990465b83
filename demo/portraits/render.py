"""Renderer of portraits: factors to pictures, painted back to front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .accessories import paint_glasses, paint_hat
from .backdrop import paint_background, paint_neck, paint_shirt
from .details import Detail
from .eyes import paint_brows, paint_eyes
from .face import paint_blush, paint_ears, paint_nose, paint_skin
from .factors import as_factors
from .hair import paint_curtains, paint_fringe, paint_hair_back
from .landmarks import LANDMARK_NAMES, landmarks
from .mouth import paint_mouth
from .scene import HALF_FRAME, PART_NAMES, Scene

# Back to front; the names are the stages that a photo's details refer to.
_PAINTERS = {
    "background": paint_background,
    "hair": paint_hair_back,
    "shirt": paint_shirt,
    "neck": paint_neck,
    "ears": paint_ears,
    "skin": paint_skin,
    "blush": paint_blush,
    "nose": paint_nose,
    "mouth": paint_mouth,
    "eyes": paint_eyes,
    "brows": paint_brows,
    "fringe": paint_fringe,
    "curtains": paint_curtains,
    "glasses": paint_glasses,
    "hat": paint_hat,
}


@dataclass(frozen=True, eq=False)
class Portraits:
    """Rendered portraits and their truth."""

    images: Tensor  # [B, 3, H, W] in -1..1
    factors: Tensor  # [B, K]
    parts: Tensor | None  # [B, P, H, W] soft masks which sum to one, where asked for
    landmarks: Tensor  # [B, N, 2] as (x, y) in pixels
    part_names: tuple[str, ...] = PART_NAMES
    landmark_names: tuple[str, ...] = LANDMARK_NAMES


@torch.no_grad()
def render(
    factors: Tensor | Mapping[str, Tensor | Sequence[float] | float],
    size: int | tuple[int, int] = 128,
    parts: bool = False,
    chunk: int = 32,
    details: Sequence[Detail] = (),
    half_frame: float = HALF_FRAME,
) -> Portraits:
    """Paint portraits.

    Args:
        factors: ``[B, K]`` (see ``factors.NAMES``), or a mapping of factor names to ``[B]`` values or one number;
            names that are left out take their defaults.
        size: pixels of a square picture, or (height, width); the shorter side shows the whole head.
        parts: also return soft part masks.
        chunk: portraits painted at once; bounds the memory.
        details: painted on every portrait, see ``details.py``.
        half_frame: half the shorter side in the portrait's units; more shows more of the shoulders.

    Returns:
        Pictures ``[B, 3, H, W]`` in -1..1 with their truth.

    Raises:
        ValueError: for unknown factors, wrong shapes, or a size below 8.
    """
    factors = as_factors(factors)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 8:
        raise ValueError(f"size: expected at least 8 pixels, got {height} x {width}")
    chunks = [_render(rows, height, width, parts, details, half_frame) for rows in factors.split(max(1, chunk))]
    images, masks, points = zip(*chunks, strict=True)
    return Portraits(
        images=torch.cat(images),
        factors=factors,
        parts=torch.cat(masks) if parts else None,
        landmarks=torch.cat(points),
    )


def _render(
    factors: Tensor, height: int, width: int, parts: bool, details: Sequence[Detail], half_frame: float
) -> tuple[Tensor, Tensor | None, Tensor]:
    scene = Scene(factors, height, width, parts, half_frame)
    for stage, paint in _PAINTERS.items():
        paint(scene)
        for detail in details:
            if detail.stage == stage:
                detail.paint(scene)
    return scene.image * 2 - 1, scene.parts() if parts else None, landmarks(scene)
