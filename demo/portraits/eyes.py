"""Painters of eyes and brows, and where those are."""

from __future__ import annotations

import torch
from torch import Tensor

from .face import face_outline
from .scene import Scene
from .shapes import bump, disk, soft

EYE_LONGITUDE, EYE_LATITUDE = 0.49, 0.04


def eye_centre(scene: Scene, side: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute x, y of an eye (side -1 is the picture's left) and its foreshortening, each ``[B, 1, 1]``."""
    x, y, _ = scene.project(side * EYE_LONGITUDE, EYE_LATITUDE)
    return x, y, (torch.cos(side * EYE_LONGITUDE + scene.yaw) / 0.882).clamp(0.42, 1.08)


def brow_centre(scene: Scene, side: float) -> tuple[Tensor, Tensor]:
    """Compute x, y of a brow's middle, each ``[B, 1, 1]``."""
    x, y, _ = scene.project(side * 0.50, -0.245)
    return x, y - 0.048 * scene["brow"] - 0.015 * scene["eye_size"]


def paint_eyes(scene: Scene) -> None:
    """Paint two eyes: white, iris with a bright lower rim, pupil, two lights, lid shadow, lashes."""
    face = scene.cover(face_outline(scene))
    size, opened = scene["eye_size"], scene["eye_open"] ** 0.65
    for side in (-1.0, 1.0):
        centre_x, centre_y, narrow = eye_centre(scene, side)
        x, y = scene.x - centre_x, scene.y - centre_y
        half_w = (0.082 + 0.036 * size) * narrow
        half_h = (0.036 + 0.060 * size) * (0.06 + 0.94 * opened) + 0.003
        u = x / half_w
        arch = (1 - u * u).clamp(min=0)
        # A closing lid sinks: a shut eye is a smiling arc below the eye's middle.
        sink = 0.030 * (1 - opened) * arch
        upper = sink - half_h * arch.sqrt() * (0.55 * arch.sqrt() + 0.45)
        lower = sink + half_h * 0.62 * arch
        shape = torch.maximum(torch.maximum(upper - y, y - lower), (u.abs() - 1) * half_w)

        socket = torch.exp(-((x / (half_w * 1.5)) ** 2) - ((y + 0.012) / (half_h * 1.2 + 0.05)) ** 2)
        scene.paint(scene.tinted_skin(0.82, 0.67, 0.62), 0.26 * socket * face)
        inside = scene.cover(shape) * face
        scene.paint((0.98, 0.97, 0.95), inside, "eyes")

        radius = 0.042 + 0.022 * size
        gaze = x - 0.012 * scene.sin
        distance = torch.sqrt((gaze / narrow.clamp(max=1).sqrt()) ** 2 + (y + 0.002) ** 2 + 1e-9)
        glow = 0.72 + 0.85 * torch.sigmoid(y / 0.014) * (distance / radius).clamp(max=1)
        scene.paint(scene.iris[:, :, None, None] * glow[:, None], scene.cover(distance - radius) * inside)
        scene.paint(scene.iris * 0.35, 0.75 * bump(distance - radius, 0.008) * inside)
        scene.paint((0.03, 0.03, 0.04), scene.cover(distance - radius * 0.50) * inside)
        light_x = gaze - 0.020 * (1 + scene["light"])
        scene.paint((1.0, 1.0, 1.0), 0.96 * scene.cover(disk(light_x, y + 0.024, 0.0155)) * inside)
        scene.paint((1.0, 1.0, 1.0), 0.55 * scene.cover(disk(gaze + 0.022, y - 0.022, 0.009)) * inside)

        scene.paint((0.25, 0.20, 0.20), 0.40 * bump(y - upper, 0.016) * inside)
        ends = soft((u.abs() - 1.08) * half_w, 0.006)
        scene.paint(scene.hair * 0.20 + 0.02, 0.96 * bump(y - upper - 0.002, 0.0125) * ends * face, "eyes")
        rim = soft((u.abs() - 0.9) * half_w, 0.006)
        scene.paint(scene.tinted_skin(0.55, 0.40, 0.36), 0.45 * bump(y - lower, 0.008) * rim * face)


def paint_brows(scene: Scene) -> None:
    """Paint brows in the colour of the hair: high and arched when raised, low and slanting inwards when not."""
    face, brow = scene.cover(face_outline(scene)), scene["brow"]
    for side in (-1.0, 1.0):
        x, y = brow_centre(scene, side)
        _, _, narrow = eye_centre(scene, side)
        half_w = 0.112 * narrow
        v = (scene.x - x) / half_w
        outwards = v * side
        middle = y - 0.022 * (1 - v * v) + 0.009 * brow * outwards + 0.012 * outwards
        thick = (0.0185 * (1 - 0.45 * outwards)).clamp(min=0.004) * (1 - v.abs().clamp(0, 1) ** 4)
        shape = torch.maximum((scene.y - middle).abs() - thick, (v.abs() - 1) * half_w)
        scene.paint(scene.hair * 0.55 + 0.02, 0.94 * scene.cover(shape) * face, "brows")
