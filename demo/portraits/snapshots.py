"""Snapshots, full photos as a camera takes them: people outdoors, off-centre, tilted, small, in a wide picture.

A snapshot knows where every face is, as a detector would report it. Painted on demand at any size; nothing is stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...editing.photos.warp import inverse_transform, resample
from .details import Backdrop
from .photos import find_photo, photo_factors
from .render import render
from .scene import HALF_FRAME, PART_NAMES
from .shapes import rounded_box, soft

__all__ = ["SNAPSHOTS", "PaintedSnapshot", "Person", "Snapshot", "paint_snapshot"]

_FACE_PARTS = ("skin", "eyes", "mouth", "brows", "glasses")
_POINTS = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
_ASPECT = 1.5  # width to height
_PERSON_HALF_FRAME = 0.97  # half the height of a person's own picture, in portrait units: the whole chest


@dataclass(frozen=True)
class Person:
    """Person in a snapshot: position of the face and size, in heights of the picture from its left top."""

    photo: str  # the name of a demo photo: its person, without its backdrop
    x: float
    y: float
    side: float  # of the square that a portrait of this person would show
    tilt: float  # degrees, clockwise


@dataclass(frozen=True)
class Snapshot:
    """People in front of a park, behind a fence."""

    name: str
    people: tuple[Person, ...]
    sky: tuple[tuple[float, float, float], tuple[float, float, float]]  # at the top and at the horizon


SNAPSHOTS: tuple[Snapshot, ...] = (
    Snapshot("pia in the park", (Person("pia", 0.98, 0.47, 0.60, 13.0),), ((0.36, 0.62, 0.90), (0.90, 0.94, 0.96))),
    Snapshot(
        "three at the fence",
        (
            Person("kofi", 0.36, 0.44, 0.50, -9.0),
            Person("hana", 0.78, 0.53, 0.42, 7.0),
            Person("bela", 1.15, 0.45, 0.47, -4.0),
        ),
        ((0.93, 0.66, 0.48), (0.99, 0.90, 0.72)),
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class PaintedSnapshot:
    """Painted snapshot with its truth."""

    image: Tensor  # [3, H, W] in -1..1
    faces: Tensor  # [N, H, W], soft masks
    points: Tensor  # [N, 5, 2]: eyes, nose, mouth corners in pixels
    names: tuple[str, ...]  # N


@torch.no_grad()
def paint_snapshot(snapshot: Snapshot, height: int = 512) -> PaintedSnapshot:
    """Paint a picture of ``height`` pixels, 1.5 times as wide, with its truth.

    Raises:
        ValueError: for a height below 64.
    """
    if height < 64:
        raise ValueError(f"height: expected at least 64 pixels, got {height}")
    size = (height, round(_ASPECT * height))
    image = _park(size, snapshot.sky)
    faces, points = [], []
    for person in snapshot.people:
        layer, face, face_points = _render_person(person, size)
        image = image * (1 - layer[3:]) + layer[:3]
        faces = [other * (1 - layer[3]) for other in faces]
        faces.append(face)
        points.append(face_points)
    fence, cover = _fence(size)
    image = torch.lerp(image, fence, cover)
    masks = torch.stack(faces) * (1 - cover)
    names = tuple(person.photo for person in snapshot.people)
    return PaintedSnapshot(image.clamp(0, 1) * 2 - 1, masks, torch.stack(points), names)


def _render_person(person: Person, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Render a person: colours times cover, and cover [4, H, W]; the face's mask [H, W]; its points [5, 2]."""
    photo = find_photo(person.photo)
    rows = max(64, round(1.2 * person.side * size[0] * _PERSON_HALF_FRAME / HALF_FRAME))
    portrait_size = (rows, round(1.2 * rows))  # wide enough for both shoulders
    details = tuple(detail for detail in photo.details if not isinstance(detail, Backdrop))
    portrait = render(photo_factors(photo), portrait_size, parts=True, details=details, half_frame=_PERSON_HALF_FRAME)
    parts = portrait.parts[0]
    alpha = 1 - parts[PART_NAMES.index("background")]
    for edge in (alpha[:2], alpha[-2:], alpha[:, :2], alpha[:, -2:]):
        edge.zero_()  # nothing is carried on beyond the portrait; the lower edge hides behind the fence
    colours = (portrait.images[0] + 1) / 2
    face = torch.stack([parts[PART_NAMES.index(name)] for name in _FACE_PARTS]).sum(dim=0)
    chin = portrait.landmarks[0, portrait.landmark_names.index("chin"), 1]
    face[int(chin) :] = 0  # the neck is skin too
    to_scene = _portrait_to_scene(person, portrait_size, size)
    source = torch.cat([colours * alpha, alpha[None], face[None]])
    layers = resample(source, inverse_transform(to_scene), size)
    indices = [portrait.landmark_names.index(name) for name in _POINTS]
    points = portrait.landmarks[0, indices].to(torch.float64)
    return layers[:4], layers[4], points @ to_scene[:, :2].t() + to_scene[:, 2]


def _portrait_to_scene(person: Person, portrait_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Compute the similarity [2, 3] from a portrait's pixels to the picture's."""
    scale = person.side * size[0] * _PERSON_HALF_FRAME / HALF_FRAME / portrait_size[0]
    angle = math.radians(person.tilt)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    rotation = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    middle = torch.tensor([portrait_size[1] / 2, portrait_size[0] / 2], dtype=torch.float64)
    position = torch.tensor([person.x * size[0], person.y * size[0]], dtype=torch.float64)
    return torch.cat([rotation, (position - rotation @ middle)[:, None]], dim=1)


def _grid(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return x [1, W] and y [H, 1] in heights of the picture."""
    height, width = size
    return (torch.arange(width)[None, :] + 0.5) / height, (torch.arange(height)[:, None] + 0.5) / height


def _colour(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue])[:, None, None]


def _park(size: tuple[int, int], sky: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Tensor:
    """Paint sky, clouds, two rows of hills, trees and a lawn [3, H, W]."""
    x, y = _grid(size)
    edge = 1.0 / size[0]
    image = torch.lerp(_colour(*sky[0]), _colour(*sky[1]), (y / 0.55).clamp(0, 1).expand(size))
    for cx, cy, width in ((0.25, 0.13, 0.16), (1.22, 0.10, 0.2), (0.8, 0.06, 0.1)):
        puff = torch.exp(-(((x - cx) / width) ** 2 + ((y - cy) / 0.035) ** 2))
        image = torch.lerp(image, _colour(1.0, 1.0, 1.0), 0.75 * puff)
    far_hills = 0.46 + 0.05 * torch.sin(3.1 * x + 0.6) + 0.02 * torch.sin(9.0 * x)
    image = torch.lerp(image, _colour(0.45, 0.60, 0.66), soft(far_hills - y, edge))
    near_hills = 0.56 + 0.035 * torch.sin(4.3 * x + 2.0)
    image = torch.lerp(image, _colour(0.42, 0.62, 0.36) * (1.1 - 0.3 * y), soft(near_hills - y, edge))
    for cx, top, radius in ((0.10, 0.36, 0.11), (0.60, 0.42, 0.07), (1.40, 0.34, 0.12)):
        trunk = rounded_box(x - cx, y - top - 0.16, 0.014, 0.12, 0.01)
        image = torch.lerp(image, _colour(0.38, 0.27, 0.20), soft(trunk, edge))
        for dx, dy, scale in ((0.0, 0.0, 1.0), (-0.55, 0.35, 0.7), (0.55, 0.3, 0.75)):
            leaf = ((x - cx - dx * radius) ** 2 + (y - top - dy * radius) ** 2).sqrt() - scale * radius
            shade = 1.05 - 0.5 * ((y - top) / radius).clamp(-1, 1)
            image = torch.lerp(image, _colour(0.22, 0.45, 0.26) * shade, soft(leaf, 1.5 * edge))
    return image.clamp(0, 1)


def _fence(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Paint boards in front of everything: colours [3, H, W] and cover [H, W]."""
    x, y = _grid(size)
    edge = 1.0 / size[0]
    board = (x / 0.125) % 1.0
    top = 0.80 + 0.012 * (board - 0.5).abs()
    gap = rounded_box(board - 0.5, torch.zeros_like(board), 0.485, 1.0, 0.02) * 0.125
    grain = 0.03 * torch.sin(260 * x + 5 * torch.sin(14 * y)) * torch.sin(31 * x)
    wood = _colour(0.70, 0.52, 0.36) * (1.06 - 0.35 * (y - 0.8) + grain + 0.06 * torch.sin(37 * torch.floor(x / 0.125)))
    wood = torch.lerp(wood, _colour(0.33, 0.23, 0.16), 1 - soft(gap, 0.5 * edge).expand(size))
    return wood.clamp(0, 1), soft(top - y, 0.5 * edge).expand(size)
