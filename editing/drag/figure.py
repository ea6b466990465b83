"""A drag as pictures: handles, targets, and the way that the handles went."""

from __future__ import annotations

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..common.figures import as_picture, as_tensor
from .drag import DragResult
from .points import DragPoints

HANDLE, GOAL, TRAIL = (226, 54, 54), (48, 96, 232), (250, 216, 60)
_SMALLEST = 512  # px: smaller pictures are enlarged, or the marks would hide what they mark


def drag_pictures(
    before: Tensor,  # [H, W, 3] in 0..1
    after: Tensor,  # [H, W, 3] in 0..1
    points: DragPoints,
    result: DragResult,
) -> Tensor:
    """Draw the points into the pictures before and after the drag, enlarged by a whole number s: [2, s H, s W, 3].

    Red: where a handle is. Blue: where it should go. Yellow, before: the way it should go; after: the way it went.
    """
    scale = max(1, -(-_SMALLEST // max(before.shape[:2])))
    straight = torch.stack([points.handles, points.targets])  # [2, N, 2]
    first = _draw_points(before, scale, straight, points.handles, points.targets)
    second = _draw_points(after, scale, result.positions, result.positions[-1], points.targets)
    return torch.stack([first, second])


def _draw_points(image: Tensor, scale: int, trail: Tensor, handles: Tensor, targets: Tensor) -> Tensor:
    """Draw trails [S, N, 2], handles [N, 2] and targets [N, 2] (px) into a picture [H, W, 3]."""
    height, width = image.shape[:2]
    picture = as_picture(image).resize((width * scale, height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    radius = max(3, round(min(picture.size) / 90))
    for k in range(len(targets)):
        draw.line([tuple(point) for point in (trail[:, k] * scale).tolist()], fill=TRAIL, width=max(1, radius // 2))
        _draw_ring(draw, targets[k] * scale, radius + 2, GOAL)
        _draw_ring(draw, handles[k] * scale, radius - 1, HANDLE)
    return as_tensor(picture)


def _draw_ring(draw: ImageDraw.ImageDraw, center: Tensor, radius: int, colour: tuple[int, int, int]) -> None:
    x, y = center.tolist()
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=max(1, radius // 3))
