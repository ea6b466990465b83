"""Facial landmarks reduced to eyes and mouth: from 3 to 478 points, named points, or part masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError

__all__ = ["LAYOUTS", "FacePoints", "face_from_names", "face_from_points", "face_from_parts", "used_points"]

# Number of points: which of them are the left eye, the right eye and the mouth, whose means are taken.
LAYOUTS: dict[int, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    3: ((0,), (1,), (2,)),  # eye, eye, mouth
    4: ((0,), (1,), (2, 3)),  # eye, eye, two corners of the mouth
    5: ((0,), (1,), (3, 4)),  # eye, eye, nose, two corners of the mouth
    68: (tuple(range(36, 42)), tuple(range(42, 48)), (48, 54)),  # iBUG 300-W
    70: (tuple(range(36, 42)), tuple(range(42, 48)), (48, 54)),  # the same and two pupils (OpenPose, DWPose)
    468: ((33, 133), (263, 362), (61, 291)),  # a face mesh
    478: ((33, 133), (263, 362), (61, 291)),  # the same and two irises
}
_COUNTS = ", ".join(str(count) for count in LAYOUTS)
_SMALLEST = 2.0  # px between the eyes, and from the eyes to the mouth
_FLATTEST = 0.1  # sine of the angle between the eyes' line and the face's length
_NAMES = {
    "eye_left": ("eyeleft", "lefteye", "leye", "eyel"),
    "eye_right": ("eyeright", "righteye", "reye", "eyer"),
    "mouth": ("mouth", "mouthcenter", "mouthcentre", "lips"),
    "mouth_left": ("mouthleft", "leftmouth", "mouthl", "mouthleftcorner", "leftmouthcorner"),
    "mouth_right": ("mouthright", "rightmouth", "mouthr", "mouthrightcorner", "rightmouthcorner"),
}


@dataclass(frozen=True, eq=False)
class FacePoints:
    """Three points of a face, [2] float64 each, (x, y) in the photo's pixels; "left" is the left of the upright face.

    Raises:
        InputError: points that coincide, lie on one line, or are not finite; eyes of a mirrored order are exchanged.
    """

    eye_left: Tensor
    eye_right: Tensor
    mouth: Tensor

    def __post_init__(self) -> None:
        for name in ("eye_left", "eye_right", "mouth"):
            object.__setattr__(self, name, getattr(self, name).detach().to("cpu", torch.float64))
        across, along = self.eye_right - self.eye_left, self.mouth - self.eyes
        lengths = float(across.norm()), float(along.norm())
        if not min(lengths) >= _SMALLEST:  # also when one is NaN
            raise InputError(
                f"The points of a face are degenerate: the eyes are {lengths[0]:.1f} px apart and the mouth is "
                f"{lengths[1]:.1f} px below them; both must be at least {_SMALLEST:g} px."
            )
        area = float(across[0] * along[1] - across[1] * along[0])
        if abs(area) < _FLATTEST * lengths[0] * lengths[1]:
            raise InputError("The points of a face are degenerate: the eyes and the mouth lie on one line.")
        if area < 0:  # many detectors name the sides as the person in the picture would
            left, right = self.eye_left, self.eye_right
            object.__setattr__(self, "eye_left", right)
            object.__setattr__(self, "eye_right", left)

    @property
    def eyes(self) -> Tensor:
        """The point between the eyes, [2]."""
        return (self.eye_left + self.eye_right) / 2

    def check_inside(self, photo_size: tuple[int, int], source: str) -> None:
        """Refuse a point outside a photo.

        Args:
            photo_size: height, width.
            source: where the face comes from, for the message.

        Raises:
            InputError: a point lies outside.
        """
        for name, point in (("left eye", self.eye_left), ("right eye", self.eye_right), ("mouth", self.mouth)):
            x, y = point.tolist()
            if not (0 <= x <= photo_size[1] and 0 <= y <= photo_size[0]):
                raise InputError(
                    f"{source}: the {name} at ({x:.0f}, {y:.0f}) lies outside the photo of {photo_size[1]} x "
                    f"{photo_size[0]} pixels. Were the points found in a picture of another size?"
                )


def used_points(points: Mapping[str, Sequence[float]] | Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """Return the points (x, y) of a face that its eyes and mouth are made of; all of them in an unknown layout."""
    if isinstance(points, Mapping):
        spellings = {spelling for names in _NAMES.values() for spelling in names}
        used = [point for name, point in points.items() if _bare_name(name) in spellings]
        return used or list(points.values())
    indices = [index for group in LAYOUTS.get(len(points), ()) for index in group]
    return [points[index] for index in indices] or list(points)


def face_from_points(points: Tensor, source: str = "A face") -> FacePoints:
    """Reduce points [N, 2] in one of the known layouts to a face.

    Raises:
        InputError: another number of points, or degenerate ones.
    """
    if points.ndim != 2 or points.shape[1] != 2 or points.shape[0] not in LAYOUTS:
        raise InputError(
            f"{source} has {points.shape[0]} points; expected {_COUNTS} (see the help page for their order)."
        )
    return FacePoints(*(points[list(index)].mean(dim=0) for index in LAYOUTS[points.shape[0]]))


def face_from_names(named: Mapping[str, Sequence[float]], source: str = "A face") -> FacePoints:
    """Read a face from named points: left_eye, right_eye, and mouth or both its corners, in any usual spelling.

    Args:
        named: name -> x, y.
        source: where the face comes from, for the message.

    Raises:
        InputError: one is missing; the sentence lists the names that came.
    """
    points = {_bare_name(name): value for name, value in named.items()}

    def find(landmark: str) -> Tensor | None:
        for name in _NAMES[landmark]:
            if name in points:
                return torch.tensor([float(value) for value in points[name][:2]], dtype=torch.float64)
        return None

    corners = find("mouth_left"), find("mouth_right")
    mouth = (corners[0] + corners[1]) / 2 if None not in corners else find("mouth")
    landmarks: dict[str, Any] = {"left_eye": find("eye_left"), "right_eye": find("eye_right"), "mouth": mouth}
    missing = [name for name, value in landmarks.items() if value is None]
    if missing:
        raise InputError(
            f"{source} has no {' and no '.join(missing)}; it names {', '.join(map(str, named)) or 'nothing'}."
        )
    return FacePoints(*landmarks.values())


def _bare_name(name: object) -> str:
    """Return a landmark's name in small letters alone: "Left_Eye" -> "lefteye"."""
    return re.sub(r"[^a-z]", "", str(name).lower())


def face_from_parts(eyes: Tensor, mouth: Tensor, source: str = "A picture") -> FacePoints:
    """Take a face from part masks, in the masks' own pixels.

    The eyes are told apart by two means along the direction in which their mask is longest.

    Args:
        eyes: [H, W] in 0..1, both eyes together.
        mouth: [H, W] in 0..1.
        source: where the masks come from, for the message.

    Raises:
        InputError: a mask is empty, or the eyes cannot be told apart.
    """
    pixels = {}
    for name, mask in (("eyes", eyes), ("mouth", mouth)):
        weights = torch.where(mask > 0.5, mask, 0).to("cpu", torch.float64)
        if not bool(weights.sum() > 0):
            raise InputError(f"{source} shows no {name}: their part label is empty there.")
        y, x = torch.nonzero(weights, as_tuple=True)
        pixels[name] = torch.stack([x, y], dim=1).to(torch.float64) + 0.5, weights[y, x]
    points, weights = pixels["mouth"]
    mouth_centre = (points * weights[:, None]).sum(dim=0) / weights.sum()
    return FacePoints(*_two_means(*pixels["eyes"], source), mouth_centre)


def _two_means(points: Tensor, weights: Tensor, source: str) -> tuple[Tensor, Tensor]:
    """Cluster points [N, 2] with weights [N] along their longest axis into two centres [2], left and right."""
    mean = (points * weights[:, None]).sum(dim=0) / weights.sum()
    offset = points - mean
    covariance = (offset * weights[:, None]).t() @ offset / weights.sum()
    axis = torch.linalg.eigh(covariance).eigenvectors[:, -1]
    along = offset @ axis
    threshold = along.new_zeros(())
    for _ in range(20):
        right = along > threshold
        if not (bool(right.any()) and bool((~right).any())):
            raise InputError(f"{source} shows one eye or none that can be told apart; two are needed.")
        means = [(along[half] * weights[half]).sum() / weights[half].sum() for half in (~right, right)]
        middle = (means[0] + means[1]) / 2
        if bool(middle == threshold):
            break
        threshold = middle
    right = along > threshold
    centres = [(points[half] * weights[half, None]).sum(dim=0) / weights[half].sum() for half in (~right, right)]
    return centres[0], centres[1]
