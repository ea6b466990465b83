"""Painters of the head: ears, shaded skin, blush, freckles, nose."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import Scene
from .shapes import bump, ellipse, soft

_FRECKLES = (
    (0.62, 0.20),
    (0.42, 0.30),
    (0.72, 0.36),
    (0.50, 0.42),
    (0.28, 0.22),
    (0.88, 0.27),
)


def face_outline(scene: Scene) -> Tensor:
    """Compute the signed distance ``[B, H, W]`` to the face: an ellipse narrowed at the chin, which leads in a turn."""
    fall = (scene.y / scene.head_h).clamp(0, 1)
    x = scene.x - 0.055 * scene.sin * fall
    return ellipse(x / (1 - 0.24 * fall * fall), scene.y, scene.head_w, scene.head_h)


def paint_ears(scene: Scene) -> None:
    """Paint both ears; the nearer one stands out more as the head turns."""
    for side in (-1.0, 1.0):
        towards = -side * scene.sin
        x = scene.x - side * scene.head_w * scene.cos - side * 0.02 - 0.02 * scene.sin
        y = scene.y - 0.02 + 0.4 * scene.head_h * torch.sin(scene.pitch)
        ear = ellipse(x, y, 0.052 + 0.02 * towards.clamp(min=0), 0.10)
        scene.paint(scene.tinted_skin(0.96, 0.85, 0.81), scene.cover(ear), "skin")
        scene.paint(scene.tinted_skin(0.80, 0.63, 0.58), 0.55 * scene.cover(ear + 0.026))


def paint_skin(scene: Scene) -> None:
    """Paint the face, lit softly from above."""
    face = face_outline(scene)
    nx = (scene.x / scene.head_w).clamp(-1, 1)
    ny = (scene.y / scene.head_h).clamp(-1, 1)
    nz = torch.sqrt((1 - nx * nx - ny * ny).clamp(min=0.02))
    shade = 0.72 + 0.36 * (nx * scene.light_x * 0.7 - ny * 0.30 + nz * 0.75)
    warm = torch.stack([shade * 0.97 + 0.05, shade, shade - 0.005], 1)
    scene.paint(scene.skin[:, :, None, None] * warm, scene.cover(face), "skin")


def paint_blush(scene: Scene) -> None:
    """Paint the cheeks, rosier with a smile, and freckles where the factor is above 0."""
    face, smile = scene.cover(face_outline(scene)), scene["smile"].clamp(min=0)
    for side in (-1.0, 1.0):
        x, y, depth = scene.project(side * 0.62, 0.34)
        width = 0.115 * (depth / 0.75).clamp(0.3, 1)
        cheek = torch.exp(-(((scene.x - x) / width) ** 2) - ((scene.y - y + 0.02 * smile) / 0.085) ** 2)
        scene.paint(scene.tinted_skin(1.0, 0.66, 0.62), cheek * (0.32 + 0.18 * smile) * face)
    if bool((scene["freckle"] > 0).any()):
        dots = torch.zeros_like(face)
        for longitude, latitude in _FRECKLES:
            for side in (-1.0, 1.0):
                x, y, depth = scene.project(side * longitude, latitude)
                dots = dots + bump(torch.hypot(scene.x - x, scene.y - y), 0.017) * (depth > 0.2)
        scene.paint(scene.tinted_skin(0.72, 0.52, 0.44), (dots * scene["freckle"] * 0.8 * face).clamp(0, 1))


def nose_tip(scene: Scene) -> tuple[Tensor, Tensor]:
    """Compute x, y ``[B, 1, 1]`` of the nose's tip: the head's foremost point, so it swings most as the head turns."""
    x, y, _ = scene.project(0.0, 0.31, 1.17)
    return x, y


def paint_nose(scene: Scene) -> None:
    """Paint a bridge with a light and a shaded side, a round tip, and the line below it."""
    tip_x, tip_y = nose_tip(scene)
    root_x, root_y, _ = scene.project(0.0, 0.0, 1.03)
    along = ((scene.y - root_y) / (tip_y - root_y)).clamp(0, 1)
    x = scene.x - (root_x + (tip_x - root_x) * along)
    width = 0.020 + 0.028 * along
    inside = soft(root_y - scene.y, 0.03) * soft(scene.y - tip_y - 0.005, 0.012)
    turned = scene.light_x.abs() + scene.sin.abs()
    lean = torch.tanh(3 * scene.light_x + 2 * scene.sin)
    shaded = bump(x + 0.9 * width * lean, 0.9 * width) * inside * (0.14 + 0.25 * turned.clamp(0, 1))
    scene.paint(scene.tinted_skin(0.72, 0.57, 0.51), shaded)
    scene.paint(scene.skin * 0.45 + 0.55, 0.34 * bump(x - 0.010 * torch.tanh(3 * scene.light_x), 0.017) * inside)
    ball = torch.exp(-(((scene.x - tip_x) / 0.048) ** 2) - ((scene.y - tip_y + 0.012) / 0.038) ** 2)
    scene.paint(scene.tinted_skin(1.06, 0.84, 0.80), 0.38 * ball)
    curve = scene.y - (tip_y + 0.030 - 3.2 * (scene.x - tip_x) ** 2)
    underline = bump(curve, 0.011) * soft((scene.x - tip_x).abs() - 0.050, 0.006)
    scene.paint(scene.tinted_skin(0.58, 0.38, 0.34), 0.72 * underline)
