"""Painters of background, shirt and neck."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import Scene
from .shapes import bump, ellipse, smooth_max


def body_outline(scene: Scene) -> Tensor:
    """Compute the signed distance to the shoulders, ``[B, H, W]``."""
    return ellipse(scene.picture_x - 0.4 * scene.centre_x, scene.y - 0.985, 1.05, 0.475)


def paint_background(scene: Scene) -> None:
    """Paint a soft glow behind the head, deeper towards the corners."""
    distance2 = (scene.picture_x - 0.35 * scene["light"]) ** 2 + (scene.picture_y + 0.20) ** 2
    glow = torch.exp(-1.1 * distance2)[:, None]
    centre, corner = scene.background[:, :, None, None], (scene.background**1.5 * 0.72)[:, :, None, None]
    scene.image = torch.lerp(corner, centre, glow).expand_as(scene.image).contiguous()


def paint_shirt(scene: Scene) -> None:
    """Paint shoulders with a V-shaped collar."""
    x, y = scene.picture_x - 0.4 * scene.centre_x, scene.y
    body = body_outline(scene)
    shade = 1.05 - 0.9 * (y - 0.60) - 0.45 * x * x + 0.22 * scene.light_x * x
    scene.paint(scene.shirt[:, :, None, None] * shade[:, None], scene.cover(body), "clothes")
    collar = _neckline(scene)
    scene.paint(scene.shirt * 0.62, scene.cover(smooth_max(collar - 0.032, body, 0.02)), "clothes")


def paint_neck(scene: Scene) -> None:
    """Paint the neck, darker below the chin."""
    y = scene.y
    shade = 0.74 + 0.26 * ((y - 0.44) / 0.16).clamp(0, 1) - 0.8 * (scene.x - 0.03 * scene.sin) ** 2
    colour = scene.tinted_skin(1.0, 0.93, 0.90)[:, :, None, None] * shade[:, None]
    column = torch.maximum((scene.x - 0.03 * scene.sin).abs() - scene.head_w * 0.42, torch.maximum(0.2 - y, y - 0.55))
    opening = torch.maximum(_neckline(scene), body_outline(scene))
    scene.paint(colour, scene.cover(torch.minimum(column, opening)), "skin")
    throat = bump(y - 0.47, 0.05) * scene.cover(column)
    scene.paint(scene.tinted_skin(0.55, 0.40, 0.36), 0.35 * throat)


def _neckline(scene: Scene) -> Tensor:
    x, y = scene.x - 0.03 * scene.sin, scene.y
    return torch.maximum(x.abs() - (0.205 - 0.85 * (y - 0.50)).clamp(min=0), 0.42 - y) * 0.8
