"""Scene of a portrait: pixel grid, head geometry, colours, and a canvas which remembers its layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .factors import INDEX
from .shapes import palette

HALF_FRAME = 0.62  # half the height of a square picture, in the portrait's units

PART_NAMES: tuple[str, ...] = (
    "background",
    "clothes",
    "hair",
    "skin",
    "eyes",
    "mouth",
    "glasses",
    "hat",
    "brows",
)

_SKIN = ((0.99, 0.86, 0.77), (0.95, 0.76, 0.62), (0.83, 0.60, 0.44), (0.63, 0.42, 0.29), (0.44, 0.28, 0.20))
_HAIR = ((0.42, 0.25, 0.14), (0.68, 0.22, 0.10), (0.88, 0.46, 0.16), (0.93, 0.74, 0.36), (0.78, 0.80, 0.86))
_IRIS = ((0.27, 0.16, 0.09), (0.42, 0.29, 0.12), (0.33, 0.50, 0.26), (0.22, 0.50, 0.66), (0.30, 0.42, 0.78))
_BACKGROUND = (
    (0.98, 0.76, 0.66),
    (0.98, 0.88, 0.62),
    (0.74, 0.88, 0.66),
    (0.58, 0.86, 0.84),
    (0.60, 0.76, 0.97),
    (0.76, 0.68, 0.96),
    (0.96, 0.68, 0.82),
)
_CLOTH = (
    (0.84, 0.30, 0.28),
    (0.93, 0.62, 0.24),
    (0.56, 0.68, 0.30),
    (0.16, 0.60, 0.56),
    (0.24, 0.46, 0.78),
    (0.50, 0.36, 0.74),
    (0.82, 0.36, 0.62),
)

Colour = Tensor | Sequence[float]


class Scene:
    """One batch of portraits being painted, back to front.

    ``scene["smile"]`` is a factor as ``[B, 1, 1]``; ``x`` and ``y`` are coordinates relative to the head's centre
    (``[B, 1, W]`` and ``[B, H, 1]``, y down); ``picture_x`` and ``picture_y`` are relative to the frame's centre.
    """

    def __init__(self, factors: Tensor, height: int, width: int, keep_layers: bool, half_frame: float = HALF_FRAME):
        self.factors = factors
        self.batch, self.height, self.width = len(factors), height, width
        self.pixel = 2 * half_frame / min(height, width)
        options = {"dtype": factors.dtype, "device": factors.device}
        self.picture_x = ((torch.arange(width, **options) + 0.5 - width / 2) * self.pixel)[None, None, :]
        self.picture_y = ((torch.arange(height, **options) + 0.5 - height / 2) * self.pixel)[None, :, None]
        self.centre_x, self.centre_y = 0.05 * self["head_x"], -0.015
        self.x = self.picture_x - self.centre_x
        self.y = self.picture_y - self.centre_y
        self.yaw, self.pitch = 0.62 * self["yaw"], 0.24 * self["pitch"]
        self.sin, self.cos = torch.sin(self.yaw), torch.cos(self.yaw)
        self.head_w, self.head_h = 0.335 + 0.085 * self["face_w"], 0.460
        self.light_x = 0.75 * self["light"]

        hue, light = factors[:, INDEX["hair_hue"]], factors[:, INDEX["hair_light"]][:, None]
        self.skin = palette(factors[:, INDEX["skin"]], _SKIN)
        self.hair = (palette(hue, _HAIR) * (0.22 + 0.84 * light) + 0.12 * (light - 0.5).clamp(min=0)).clamp(0, 1)
        self.iris = palette(factors[:, INDEX["eye_hue"]], _IRIS)
        self.background = palette(factors[:, INDEX["bg_hue"]], _BACKGROUND)
        self.shirt = palette(factors[:, INDEX["shirt_hue"]], _CLOTH)
        self.hat = palette(factors[:, INDEX["hat_hue"]], _CLOTH)

        self.image = torch.zeros(self.batch, 3, height, width, **options)
        self._layers: list[tuple[Tensor, int]] | None = [] if keep_layers else None

    def __getitem__(self, name: str) -> Tensor:
        return self.factors[:, INDEX[name]][:, None, None]

    def tinted_skin(self, red: float, green: float, blue: float) -> Tensor:
        """Return the skin colour ``[B, 3]`` times a tint."""
        return self.skin * torch.tensor((red, green, blue)).to(self.skin)

    def project(self, longitude: Tensor | float, latitude: Tensor | float, radius: float = 1.0):
        """Project a point of the head's ellipsoid (radians) to x, y, depth (1: to the viewer), each ``[B, 1, 1]``."""
        longitude = self.yaw + longitude
        latitude = latitude - self.pitch
        x = radius * self.head_w * torch.sin(longitude) * torch.cos(latitude)
        y = radius * self.head_h * torch.sin(latitude)
        return x, y, torch.cos(longitude) * torch.cos(latitude)

    def cover(self, distance: Tensor) -> Tensor:
        """Compute the anti-aliased coverage 0..1 of a shape from its signed distance, ``[B, H, W]``."""
        return (0.5 - distance / (1.3 * self.pixel)).clamp(0, 1)

    def paint(self, colour: Colour, alpha: Tensor, part: str | None = None) -> None:
        """Lay a colour over the picture.

        Args:
            colour: three numbers, ``[B, 3]`` or ``[B, 3, H, W]``, in 0..1.
            alpha: opacity 0..1, broadcast to ``[B, H, W]``.
            part: of ``PART_NAMES``; None for shading, which changes colours but not the part that a pixel belongs to.
        """
        if not isinstance(colour, Tensor):
            colour = torch.tensor(colour, dtype=self.image.dtype, device=self.image.device)[None]
        if colour.ndim == 2:
            colour = colour[:, :, None, None]
        alpha = alpha.expand(self.batch, self.height, self.width)
        self.image = torch.lerp(self.image, colour.clamp(0, 1).expand_as(self.image), alpha[:, None])
        if self._layers is not None and part is not None:
            self._layers.append((alpha, PART_NAMES.index(part)))

    def parts(self) -> Tensor:
        """Compose soft part masks ``[B, P, H, W]`` in the order of ``PART_NAMES``; they sum to one at each pixel.

        Raises:
            RuntimeError: when the scene was painted without its layers.
        """
        if self._layers is None:
            raise RuntimeError("the scene was painted without keeping its layers")
        masks = self.image.new_zeros(self.batch, len(PART_NAMES), self.height, self.width)
        uncovered = self.image.new_ones(self.batch, self.height, self.width)
        for alpha, index in reversed(self._layers):
            masks[:, index] += uncovered * alpha
            uncovered = uncovered * (1 - alpha)
        masks[:, 0] += uncovered
        return masks
