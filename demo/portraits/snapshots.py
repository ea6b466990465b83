"""Full photos as a camera takes them: people of the demo world outdoors, off-centre, tilted, small, in a wide picture.

A snapshot knows where every face is, as a detector would say it. Painted on demand at any size; nothing is stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...editing.photos.warp import inverse_transform, resample
from .details import Backdrop
from .photos import photo_factors, photo_named
from .render import render
from .scene import HALF_FRAME, PART_NAMES
from .shapes import rounded_box, soft

__all__ = ["SNAPSHOTS", "Painted", "Person", "Snapshot", "paint_snapshot"]

_FACE_PARTS = ("skin", "eyes", "mouth", "brows", "glasses")
_POINTS = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
_ASPECT = 1.5  # width to height
_SEEN = 0.97  # half the height of a person's own picture, in portrait units: the whole chest


@dataclass(frozen=True)
class Person:
    """Who stands where: the face's place in heights of the picture from its left top, a portrait's side, the tilt."""

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
class Painted:
    """image [3, H, W] in -1..1; faces [N, H, W], soft masks; points [N, 5, 2]: eyes, nose, mouth corners in pixels."""

    image: Tensor
    faces: Tensor
    points: Tensor
    names: tuple[str, ...]


@torch.no_grad()
def paint_snapshot(snapshot: Snapshot, height: int = 512) -> Painted:
    """The picture, 1.5 times as wide as high, with its truth. Raises ValueError for a height below 64."""
    if height < 64:
        raise ValueError(f"height: expected at least 64 pixels, got {height}")
    size = (height, round(_ASPECT * height))
    image = _park(size, snapshot.sky)
    faces, points = [], []
    for person in snapshot.people:
        layer, face, where = _cut_out(person, size)
        image = image * (1 - layer[3:]) + layer[:3]
        for k, before in enumerate(faces):
            faces[k] = before * (1 - layer[3])
        faces.append(face)
        points.append(where)
    fence, cover = _fence(size)
    image = torch.lerp(image, fence, cover)
    masks = torch.stack(faces) * (1 - cover)
    return Painted(image.clamp(0, 1) * 2 - 1, masks, torch.stack(points), tuple(p.photo for p in snapshot.people))


def _cut_out(person: Person, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """A person at their place: colours times cover, and cover [4, H, W]; the face's mask [H, W]; its points [5, 2]."""
    photo = photo_named(person.photo)
    side = max(64, round(1.2 * person.side * size[0] * _SEEN / HALF_FRAME))
    own = (side, round(1.2 * side))  # wide enough for both shoulders
    details = tuple(detail for detail in photo.details if not isinstance(detail, Backdrop))
    painted = render(photo_factors(photo), own, parts=True, details=details, half_frame=_SEEN)
    parts = painted.parts[0]
    alpha = 1 - parts[PART_NAMES.index("background")]
    for edge in (alpha[:2], alpha[-2:], alpha[:, :2], alpha[:, -2:]):
        edge.zero_()  # nothing is carried on beyond the portrait; the lower edge hides behind the fence
    colours = (painted.images[0] + 1) / 2
    face = torch.stack([parts[PART_NAMES.index(name)] for name in _FACE_PARTS]).sum(dim=0)
    chin = painted.landmarks[0, painted.landmark_names.index("chin"), 1]
    face[int(chin) :] = 0  # the neck is skin too
    to_scene = _placed(person, own, size)
    source = torch.cat([colours * alpha, alpha[None], face[None]])
    seen = resample(source, inverse_transform(to_scene), size)
    chosen = [painted.landmark_names.index(name) for name in _POINTS]
    points = painted.landmarks[0, chosen].to(torch.float64)
    return seen[:4], seen[4], points @ to_scene[:, :2].t() + to_scene[:, 2]


def _placed(person: Person, own: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """[2, 3]: a portrait's pixels to the picture's; a similarity."""
    scale, angle = person.side * size[0] * _SEEN / HALF_FRAME / own[0], math.radians(person.tilt)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    middle = torch.tensor([own[1] / 2, own[0] / 2], dtype=torch.float64)
    place = torch.tensor([person.x * size[0], person.y * size[0]], dtype=torch.float64)
    return torch.cat([turn, (place - turn @ middle)[:, None]], dim=1)


def _plane(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """x [1, W] and y [H, 1] in heights of the picture."""
    height, width = size
    return (torch.arange(width)[None, :] + 0.5) / height, (torch.arange(height)[:, None] + 0.5) / height


def _colour(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue])[:, None, None]


def _park(size: tuple[int, int], sky: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Tensor:
    """Sky, clouds, two rows of hills, trees and a lawn [3, H, W]."""
    x, y = _plane(size)
    edge = 1.0 / size[0]
    image = torch.lerp(_colour(*sky[0]), _colour(*sky[1]), (y / 0.55).clamp(0, 1).expand(size))
    for cx, cy, wide in ((0.25, 0.13, 0.16), (1.22, 0.10, 0.2), (0.8, 0.06, 0.1)):
        puff = torch.exp(-(((x - cx) / wide) ** 2 + ((y - cy) / 0.035) ** 2))
        image = torch.lerp(image, _colour(1.0, 1.0, 1.0), 0.75 * puff)
    far = 0.46 + 0.05 * torch.sin(3.1 * x + 0.6) + 0.02 * torch.sin(9.0 * x)
    image = torch.lerp(image, _colour(0.45, 0.60, 0.66), soft(far - y, edge))
    near = 0.56 + 0.035 * torch.sin(4.3 * x + 2.0)
    image = torch.lerp(image, _colour(0.42, 0.62, 0.36) * (1.1 - 0.3 * y), soft(near - y, edge))
    for cx, top, big in ((0.10, 0.36, 0.11), (0.60, 0.42, 0.07), (1.40, 0.34, 0.12)):
        trunk = rounded_box(x - cx, y - top - 0.16, 0.014, 0.12, 0.01)
        image = torch.lerp(image, _colour(0.38, 0.27, 0.20), soft(trunk, edge))
        for dx, dy, size_of in ((0.0, 0.0, 1.0), (-0.55, 0.35, 0.7), (0.55, 0.3, 0.75)):
            leaf = ((x - cx - dx * big) ** 2 + (y - top - dy * big) ** 2).sqrt() - size_of * big
            shade = 1.05 - 0.5 * ((y - top) / big).clamp(-1, 1)
            image = torch.lerp(image, _colour(0.22, 0.45, 0.26) * shade, soft(leaf, 1.5 * edge))
    return image.clamp(0, 1)


def _fence(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boards in front of everything: colours [3, H, W] and cover [H, W]."""
    x, y = _plane(size)
    edge = 1.0 / size[0]
    board = (x / 0.125) % 1.0
    top = 0.80 + 0.012 * (board - 0.5).abs()
    gap = rounded_box(board - 0.5, torch.zeros_like(board), 0.485, 1.0, 0.02) * 0.125
    grain = 0.03 * torch.sin(260 * x + 5 * torch.sin(14 * y)) * torch.sin(31 * x)
    wood = _colour(0.70, 0.52, 0.36) * (1.06 - 0.35 * (y - 0.8) + grain + 0.06 * torch.sin(37 * torch.floor(x / 0.125)))
    wood = torch.lerp(wood, _colour(0.33, 0.23, 0.16), 1 - soft(gap, 0.5 * edge).expand(size))
    return wood.clamp(0, 1), soft(top - y, 0.5 * edge).expand(size)
