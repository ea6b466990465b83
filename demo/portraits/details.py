"""Details of photos that a trained generator does not know: moles, plasters, earrings, patterns, letters.

Each detail is a small dataclass with the painter's stage after which it comes, and a ``paint`` method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .backdrop import body_outline
from .face import face_outline
from .scene import Scene
from .shapes import disk, rounded_box

RGB = tuple[float, float, float]  # in 0..1


class Detail(Protocol):
    """Detail of a photo, painted between two of the portrait's painters."""

    stage: ClassVar[str]  # the painter that it follows

    def paint(self, scene: Scene) -> None:
        """Paint it on every portrait of the scene."""


@dataclass(frozen=True)
class Mole:
    """A dark spot on the skin, at a point of the head's ellipsoid (radians)."""

    longitude: float
    latitude: float
    radius: float = 0.014
    stage: ClassVar[str] = "nose"

    def paint(self, scene: Scene) -> None:
        x, y, depth = scene.project(self.longitude, self.latitude)
        spot = scene.cover(disk(scene.x - x, scene.y - y, self.radius)) * (depth > 0.2)
        scene.paint(scene.tinted_skin(0.40, 0.26, 0.22), spot, "skin")


@dataclass(frozen=True)
class Plaster:
    """A sticking plaster across the skin."""

    longitude: float
    latitude: float
    colour: RGB = (0.93, 0.78, 0.60)
    stage: ClassVar[str] = "nose"

    def paint(self, scene: Scene) -> None:
        x, y, _ = scene.project(self.longitude, self.latitude)
        dx, dy = scene.x - x, scene.y - y
        along, across = 0.87 * dx + 0.5 * dy, 0.87 * dy - 0.5 * dx
        face = scene.cover(face_outline(scene))
        scene.paint(self.colour, scene.cover(rounded_box(along, across, 0.075, 0.027, 0.026)) * face, "skin")
        pad = scene.cover(rounded_box(along, across, 0.026, 0.022, 0.006)) * face
        scene.paint(tuple(0.9 * c for c in self.colour), pad)


@dataclass(frozen=True)
class CheekStar:
    """A painted star."""

    longitude: float
    latitude: float
    colour: RGB = (0.98, 0.80, 0.20)
    radius: float = 0.045
    stage: ClassVar[str] = "nose"

    def paint(self, scene: Scene) -> None:
        x, y, _ = scene.project(self.longitude, self.latitude)
        dx, dy = scene.x - x, scene.y - y
        angle = torch.atan2(dx.expand_as(dx + dy), -dy.expand_as(dx + dy))
        point = (torch.remainder(angle, 2 * torch.pi / 5) - torch.pi / 5).abs() * 5 / torch.pi
        star = torch.hypot(dx, dy) - self.radius * (0.45 + 0.55 * point**1.5)
        scene.paint(self.colour, scene.cover(star) * scene.cover(face_outline(scene)), "skin")


@dataclass(frozen=True)
class Earrings:
    """A ring or a pearl below each ear."""

    colour: RGB = (0.98, 0.80, 0.30)
    hoop: bool = True
    stage: ClassVar[str] = "curtains"

    def paint(self, scene: Scene) -> None:
        for side in (-1.0, 1.0):
            x = side * scene.head_w * scene.cos + side * 0.03 + 0.02 * scene.sin
            drop = 0.165 if self.hoop else 0.135
            shape = disk(scene.x - x, scene.y - drop, 0.045 if self.hoop else 0.028)
            shape = shape.abs() - 0.009 if self.hoop else shape
            scene.paint(self.colour, scene.cover(shape), "clothes")
            light = disk(scene.x - x + 0.010, scene.y - drop + 0.010, 0.008)
            scene.paint((1.0, 1.0, 1.0), 0.0 * light if self.hoop else scene.cover(light))


@dataclass(frozen=True)
class HairClip:
    """A bar in the hair above the forehead."""

    colour: RGB = (0.95, 0.30, 0.45)
    side: float = 1.0
    stage: ClassVar[str] = "curtains"

    def paint(self, scene: Scene) -> None:
        dx, dy = scene.x - self.side * 0.7 * scene.head_w, scene.y + 0.24
        along, across = 0.5 * dx + 0.87 * self.side * dy, 0.87 * dx - 0.5 * self.side * dy
        scene.paint(self.colour, scene.cover(rounded_box(along, across, 0.085, 0.020, 0.018)), "hair")


@dataclass(frozen=True)
class Necklace:
    """A string of pearls over the neck."""

    colour: RGB = (0.96, 0.95, 0.90)
    stage: ClassVar[str] = "neck"

    def paint(self, scene: Scene) -> None:
        for k in range(-4, 5):
            x, y = 0.037 * k, 0.560 - 0.0045 * k * k
            scene.paint(self.colour, scene.cover(disk(scene.x - x, scene.y - y, 0.019)), "clothes")
            scene.paint((1.0, 1.0, 1.0), 0.8 * scene.cover(disk(scene.x - x + 0.006, scene.y - y + 0.006, 0.006)))


@dataclass(frozen=True)
class Backdrop:
    """A patterned background: "stripes", "dots", "checks", "window" or "hills"."""

    pattern: str
    colour: RGB
    scale: float = 0.10
    stage: ClassVar[str] = "background"

    def paint(self, scene: Scene) -> None:
        x, y = scene.picture_x, scene.picture_y
        scene.paint(self.colour, self._coverage(scene, x, y), "background")

    def _coverage(self, scene: Scene, x: Tensor, y: Tensor) -> Tensor:
        s = self.scale
        if self.pattern == "stripes":
            return 0.8 * scene.cover((torch.remainder(x + 0.5 * y, 2 * s) - s).abs() - s / 2)
        if self.pattern == "dots":
            row = torch.floor(y / s)
            dx = torch.remainder(x + 0.5 * s * torch.remainder(row, 2), s) - s / 2
            return 0.8 * scene.cover(disk(dx, torch.remainder(y, s) - s / 2, 0.28 * s))
        if self.pattern == "checks":
            across = scene.cover((torch.remainder(x, 2 * s) - s).abs() - s / 2)
            return 0.45 * (across + scene.cover((torch.remainder(y, 2 * s) - s).abs() - s / 2))
        if self.pattern == "window":
            pane = rounded_box(x.abs() - 0.36, torch.remainder(y + 0.62, 0.42) - 0.21, 0.20, 0.18, 0.02)
            return 0.75 * scene.cover(pane)
        if self.pattern == "hills":
            return scene.cover(-(y - 0.10 - 0.10 * torch.sin(5 * x + 1) - 0.04 * torch.sin(13 * x)))
        raise ValueError(f"pattern: expected stripes, dots, checks, window or hills, got {self.pattern!r}")


@dataclass(frozen=True)
class ShirtPattern:
    """Stripes across the shirt."""

    colour: RGB
    width: float = 0.022
    stage: ClassVar[str] = "shirt"

    def paint(self, scene: Scene) -> None:
        band = (torch.remainder(scene.y + 0.10 * scene.picture_x**2, 2 * self.width) - self.width).abs()
        scene.paint(self.colour, scene.cover(band - self.width / 2) * scene.cover(body_outline(scene)), "clothes")


@dataclass(frozen=True)
class ShirtText:
    """Letters on a round-necked shirt."""

    text: str
    colour: RGB = (1.0, 1.0, 1.0)
    stage: ClassVar[str] = "neck"

    def paint(self, scene: Scene) -> None:
        collar = torch.maximum(body_outline(scene), 0.525 - 0.5 * scene.x**2 - scene.y)
        scene.paint(scene.shirt * 0.9, scene.cover(collar), "clothes")
        scene.paint(self.colour, self._letters(scene), "clothes")

    def _letters(self, scene: Scene) -> Tensor:
        height = max(6, round(0.085 / scene.pixel))
        middle = (scene.width // 2, round(scene.height / 2 + (0.575 + scene.centre_y) / scene.pixel))
        canvas = Image.new("L", (scene.width, scene.height))
        font = ImageFont.load_default(size=height)
        ImageDraw.Draw(canvas).text(middle, self.text, 255, font, anchor="mm")
        return torch.from_numpy(np.asarray(canvas, np.float32) / 255).to(scene.image)[None]
