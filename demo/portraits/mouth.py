"""Painter of the mouth: lips that curve, part, and show teeth and tongue."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .face import face_outline
from .scene import Scene
from .shapes import bump, soft


@dataclass(frozen=True)
class MouthShape:
    """Geometry of the mouth in head coordinates, each ``[B, 1, 1]``."""

    x: Tensor
    y: Tensor
    half_width: Tensor
    bend: Tensor  # how far the corners rise above the middle, roughly

    def line(self, u: Tensor) -> Tensor:
        """Compute the height ``[B, 1, W]`` of the line between the lips at u = -1..1 across the mouth."""
        return self.y + 0.012 - self.bend * (u * u - 0.35)


def mouth_shape(scene: Scene) -> MouthShape:
    """Compute the mouth of each portrait; a frown is milder than a smile, or half of all people would look upset."""
    x, y, _ = scene.project(0.0, 0.60)
    smile = scene["smile"]
    narrow = scene.cos.clamp(min=0.5)
    half_width = (0.135 + 0.026 * smile + 0.01 * scene["mouth_open"]) * narrow
    return MouthShape(x, y, half_width, 0.021 + 0.061 * smile)


def paint_mouth(scene: Scene) -> None:
    """Paint lips, then the inside of an open mouth, then the closed line and the corners."""
    mouth, opened, smile = mouth_shape(scene), scene["mouth_open"], scene["smile"]
    y = scene.y
    u = (scene.x - mouth.x) / mouth.half_width
    arch = (1 - u * u).clamp(min=0)
    base = mouth.line(u.clamp(-1.6, 1.6))
    upper = base - 0.010 * opened * arch
    lower = base + 0.110 * opened * arch
    upper_lip = upper - 0.025 * arch * (1 - 0.30 * bump(u, 0.18))
    lower_lip = lower + 0.033 * arch
    ends = (u.abs() - 1) * mouth.half_width
    lips = torch.maximum(torch.maximum(upper_lip - y, y - lower_lip), ends)
    gap = torch.maximum(torch.maximum(upper - y, y - lower), ends)

    blend = scene["lip"][:, 0]
    lip_colour = scene.tinted_skin(0.90, 0.54, 0.52) * (1 - blend)
    lip_colour = lip_colour + blend * torch.tensor((0.82, 0.22, 0.27)).to(lip_colour)
    gloss = bump(y - (lower + 0.016 * arch), 0.010) * bump(u, 0.5)
    shade = 1.0 - 0.20 * (y < base) + 0.22 * gloss
    scene.paint(lip_colour[:, :, None, None] * shade[:, None], scene.cover(lips), "mouth")
    scene.paint((0.32, 0.07, 0.10), scene.cover(gap) * (opened * 12).clamp(0, 1), "mouth")
    teeth = torch.maximum(gap + 0.004, y - (upper + 0.036 * arch * (opened * 2).clamp(max=1)))
    scene.paint((0.98, 0.97, 0.94), scene.cover(teeth) * (opened * 5 - 0.3).clamp(0, 1))
    tongue = torch.maximum(gap + 0.006, (lower - 0.045 * arch * (opened * 1.2).clamp(max=1)) - y)
    scene.paint((0.86, 0.40, 0.42), 0.85 * scene.cover(tongue) * (opened * 2.4 - 0.6).clamp(0, 1))
    closed = bump(y - base, 0.010) * soft(ends, 0.006) * (1 - (opened * 8).clamp(0, 1))
    scene.paint(scene.tinted_skin(0.42, 0.20, 0.20), 0.85 * closed)

    face = scene.cover(face_outline(scene))
    for side in (-1.0, 1.0):
        x = mouth.x + side * mouth.half_width * 1.08
        corner = torch.exp(-(((scene.x - x) / 0.018) ** 2) - ((y - mouth.line(mouth.bend.new_ones(()))) / 0.022) ** 2)
        scene.paint(scene.tinted_skin(0.64, 0.44, 0.40), corner * (0.20 + 0.45 * smile.clamp(min=0)) * face)
