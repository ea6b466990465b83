"""Painters of hair: the mass behind the head, the fringe over the forehead, curtains beside the face when long."""

from __future__ import annotations

import torch
from torch import Tensor

from .scene import Scene
from .shapes import bump, ellipse, rounded_box, smooth_max, smooth_min, soft


def paint_hair_back(scene: Scene) -> None:
    """Paint the hair behind the face, darker, since the head keeps the light away."""
    scene.paint(_strands(scene) * 0.66, scene.cover(_mass(scene)), "hair")


def paint_fringe(scene: Scene) -> None:
    """Paint the cap of hair above a hairline which turns with the head, and its shadow on the forehead."""
    x, y, w = scene.x, scene.y, scene.head_w
    u = (x - 0.75 * w * scene.sin - 0.20 * w * scene["part"]) / w
    hairline = (
        -0.250
        + 0.05 * scene.pitch
        + 0.34 * (u.abs() - 0.10).clamp(min=0) ** 1.9
        - 0.045 * bump(u - 0.30, 0.20)
        + 0.05 * scene["part"] * u
        + 0.012 * scene["curl"] * torch.sin(x * 40)
    )
    skull = ellipse(x + 0.05 * scene.sin, y + 0.05, w * 1.12 + 0.03, scene.head_h * 1.09)
    cap = smooth_max(skull, y - hairline, 0.03)
    cap = smooth_max(cap, y - 0.02 - 0.10 * scene["hair_len"], 0.05)
    scene.paint(scene.tinted_skin(0.60, 0.45, 0.40), 0.5 * soft(cap - 0.012, 0.016) * _face_mask(scene))
    scene.paint(_strands(scene), scene.cover(cap), "hair")


def paint_curtains(scene: Scene) -> None:
    """Paint long hair in front of the ears and the shoulders, framing the face."""
    distance = (scene.x - 0.10 * scene.sin).abs()
    amount = ((scene["hair_len"] - 0.25) / 0.3).clamp(0, 1)
    inner = scene.head_w * (1.22 - 0.28 * amount) + 0.02 * (scene.y.clamp(min=0) / 0.5) ** 2
    curtain = smooth_max(_mass(scene), torch.maximum(inner - distance, -0.02 - scene.y), 0.03)
    shadow = soft(curtain - 0.012, 0.012) * _face_mask(scene) * amount
    scene.paint(scene.tinted_skin(0.60, 0.45, 0.40), 0.45 * shadow)
    scene.paint(_strands(scene) * 0.92, scene.cover(curtain), "hair")


def _face_mask(scene: Scene) -> Tensor:
    return scene.cover(ellipse(scene.x, scene.y, scene.head_w, scene.head_h))


def _mass(scene: Scene) -> Tensor:
    """Compute the signed distance to all hair: a skull cap joined with a box as long as the hair."""
    x, y, w, length = scene.x + 0.05 * scene.sin, scene.y, scene.head_w, scene["hair_len"]
    half = w * 1.15 + 0.02 + 0.05 * length
    bottom = -0.05 + 0.75 * length
    skull = ellipse(x, y + 0.05, half, scene.head_h * 1.11)
    skull = smooth_max(skull, y - torch.maximum(bottom, bottom.new_tensor(0.10)), 0.06)
    edge = 0.024 * scene["curl"] * torch.sin(y * 20 + 0.6)
    flare = 0.03 * length * (y.clamp(min=0) / 0.5)
    middle, half_height = (bottom - 0.10) / 2, (bottom + 0.10).clamp(min=0.06) / 2
    box = rounded_box(x, y - middle, half - 0.004 + flare + edge, half_height, 0.055)
    return smooth_min(skull, box, 0.05)


def _strands(scene: Scene) -> Tensor:
    """Compute the hair's colour ``[B, 3, H, W]``: fine strands and a band of light across the crown."""
    x, y = scene.x + 0.05 * scene.sin, scene.y
    wave = x + 0.035 * scene["curl"] * torch.sin(y * 17 + 1.0)
    strand = torch.sin(wave * 46 + 3 * torch.sin(y * 4))
    crown = bump(y + 0.38 - 0.5 * x * x, 0.10)
    shade = 0.82 + 0.06 * strand + 0.30 * crown + 0.22 * scene.light_x * x / 0.5 - 0.20 * y.clamp(min=0)
    return scene.hair[:, :, None, None] * shade[:, None] + 0.04 * crown[:, None]
