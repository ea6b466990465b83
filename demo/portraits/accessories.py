"""Painters of glasses and hats."""

from __future__ import annotations

import torch

from .eyes import EYE_LONGITUDE
from .face import face_outline
from .scene import Scene
from .shapes import disk, ellipse, rounded_box, smooth_max


def paint_glasses(scene: Scene) -> None:
    """Paint round dark frames with clear lenses, a bridge, and arms towards the ears."""
    present, frame = scene["glasses"], (0.10, 0.09, 0.13)
    face = scene.cover(face_outline(scene))
    rims, lenses, centres = [], [], []
    for side in (-1.0, 1.0):
        x, y, _ = scene.project(side * EYE_LONGITUDE, EYE_LATITUDE_OF_FRAME, 1.03)
        narrow = (torch.cos(side * EYE_LONGITUDE + scene.yaw) / 0.882).clamp(0.45, 1.06)
        half_w = 0.136 * narrow
        # Measured across the foreshortened lens, so that the far frame keeps an even width.
        lens = rounded_box((scene.x - x) / narrow, scene.y - y, half_w / narrow, 0.122, 0.095)
        lenses.append(lens)
        rims.append(lens.abs() - 0.0145)
        centres.append((x, y, half_w))
        ear = side * scene.head_w * scene.cos
        start = x + side * half_w
        arm = torch.maximum(
            (scene.y - y + 0.03).abs() - 0.011, torch.maximum(side * (start - scene.x), side * (scene.x - ear))
        )
        scene.paint(frame, scene.cover(arm) * present * face, "glasses")
    lens = torch.minimum(*lenses)
    scene.paint((0.86, 0.93, 1.0), 0.12 * scene.cover(lens) * present)
    (left_x, y, left_w), (right_x, _, right_w) = centres
    slant = scene.x + 0.7 * (scene.y - y)
    gleam = torch.exp(-(((slant - left_x - 0.07) / 0.018) ** 2)) + torch.exp(-(((slant - right_x - 0.07) / 0.018) ** 2))
    scene.paint((1.0, 1.0, 1.0), (0.30 * gleam * scene.cover(lens) * present).clamp(0, 1))
    middle = (scene.x - (left_x + right_x) / 2) / ((right_x - left_x) / 2)
    bridge = torch.maximum(
        (scene.y - y + 0.02 + 0.02 * (1 - middle * middle)).abs() - 0.012,
        torch.maximum(left_x + left_w - scene.x, scene.x - right_x + right_w),
    )
    scene.paint(frame, scene.cover(torch.minimum(torch.minimum(*rims), bridge)) * present, "glasses")


EYE_LATITUDE_OF_FRAME = 0.06  # a little below the eyes' own latitude: frames rest on the nose


def paint_hat(scene: Scene) -> None:
    """Paint a knitted beanie with a folded band and a bobble."""
    present, x, y, w = scene["hat"], scene.x + 0.03 * scene.sin, scene.y, scene.head_w
    rim = -0.235 + 0.05 * scene.pitch
    turned = torch.asin((x / (w * 1.30 + 0.03)).clamp(-1, 1)) - scene.yaw
    knit = 0.93 + 0.06 * torch.cos(turned * 24)
    round_shade = 1.06 - 0.34 * (x / (w * 1.25)) ** 2 + 0.35 * scene.light_x * x / 0.5
    shade = (knit * round_shade)[:, None]
    colour = scene.hat[:, :, None, None]

    dome = smooth_max(ellipse(x, y + 0.12, w * 1.17 + 0.045, 0.455), y - rim, 0.02)
    scene.paint(colour * shade, scene.cover(dome) * present, "hat")
    bobble = disk(x - 0.02 * scene.sin, y + 0.535, 0.066)
    fluff = 1.12 - 2.2 * (y + 0.565)
    pale = torch.lerp(colour, torch.ones_like(colour), 0.35) * fluff[:, None]
    scene.paint(pale, scene.cover(bobble) * present, "hat")
    curve = 0.045 * (x / w) ** 2
    band = rounded_box(x, y - rim + 0.025 - curve, w * 1.18 + 0.045, 0.066, 0.035)
    scene.paint((0, 0, 0), 0.22 * scene.cover(band - 0.012) * present * scene.cover(face_outline(scene)))
    scene.paint(colour * 0.80 * shade, scene.cover(band) * present, "hat")
