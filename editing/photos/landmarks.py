"""Eyes and mouth of a face, from whatever a landmark detector gives: 2 to 478 points, named points, part masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError

__all__ = ["LAYOUTS", "FacePoints", "face_from_names", "face_from_points", "face_from_parts"]

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
        sizes = float(across.norm()), float(along.norm())
        if not min(sizes) >= _SMALLEST:  # also when one is NaN
            raise InputError(
                f"The points of a face are degenerate: the eyes are {sizes[0]:.1f} px apart and the mouth is "
                f"{sizes[1]:.1f} px below them; both must be at least {_SMALLEST:g} px."
            )
        area = float(across[0] * along[1] - across[1] * along[0])
        if abs(area) < _FLATTEST * sizes[0] * sizes[1]:
            raise InputError("The points of a face are degenerate: the eyes and the mouth lie on one line.")
        if area < 0:  # many detectors name the sides as the person in the picture would
            left, right = self.eye_left, self.eye_right
            object.__setattr__(self, "eye_left", right)
            object.__setattr__(self, "eye_right", left)

    @property
    def eyes(self) -> Tensor:
        """[2], between the eyes."""
        return (self.eye_left + self.eye_right) / 2

    def check_inside(self, photo_size: tuple[int, int], what: str) -> None:
        """InputError when a point lies outside a photo of (height, width)."""
        for name, point in (("left eye", self.eye_left), ("right eye", self.eye_right), ("mouth", self.mouth)):
            x, y = point.tolist()
            if not (0 <= x <= photo_size[1] and 0 <= y <= photo_size[0]):
                raise InputError(
                    f"{what}: the {name} at ({x:.0f}, {y:.0f}) lies outside the photo of {photo_size[1]} x "
                    f"{photo_size[0]} pixels. Were the points found in a picture of another size?"
                )


def face_from_points(points: Tensor, what: str = "A face") -> FacePoints:
    """Points [N, 2] in one of the known layouts -> the face; InputError for another number of points."""
    if points.ndim != 2 or points.shape[1] != 2 or points.shape[0] not in LAYOUTS:
        raise InputError(
            f"{what} has {points.shape[0]} points; expected {_COUNTS} (see the help page for their order)."
        )
    return FacePoints(*(points[list(chosen)].mean(dim=0) for chosen in LAYOUTS[points.shape[0]]))


def face_from_names(named: Mapping[str, Sequence[float]], what: str = "A face") -> FacePoints:
    """Named points -> the face: left_eye, right_eye, and mouth or both its corners, in any usual spelling.

    Raises InputError when one is missing, with the names that came.
    """
    plain = {re.sub(r"[^a-z]", "", str(name).lower()): value for name, value in named.items()}

    def find(wanted: str) -> Tensor | None:
        for name in _NAMES[wanted]:
            if name in plain:
                return torch.tensor([float(value) for value in plain[name][:2]], dtype=torch.float64)
        return None

    corners = find("mouth_left"), find("mouth_right")
    mouth = (corners[0] + corners[1]) / 2 if None not in corners else find("mouth")
    found: dict[str, Any] = {"left_eye": find("eye_left"), "right_eye": find("eye_right"), "mouth": mouth}
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise InputError(
            f"{what} has no {' and no '.join(missing)}; it names {', '.join(map(str, named)) or 'nothing'}."
        )
    return FacePoints(*found.values())


def face_from_parts(eyes: Tensor, mouth: Tensor, what: str = "A picture") -> FacePoints:
    """Soft masks [H, W] of both eyes together and of the mouth -> the face, in the masks' own pixels.

    The eyes are told apart by two means along the direction in which their mask is longest. Raises InputError when a
    mask is empty.
    """
    places = {}
    for name, mask in (("eyes", eyes), ("mouth", mouth)):
        weights = torch.where(mask > 0.5, mask, 0).to("cpu", torch.float64)
        if not bool(weights.sum() > 0):
            raise InputError(f"{what} shows no {name}: their part label is empty there.")
        y, x = torch.nonzero(weights, as_tuple=True)
        places[name] = torch.stack([x, y], dim=1).to(torch.float64) + 0.5, weights[y, x]
    points, weights = places["mouth"]
    mouth_centre = (points * weights[:, None]).sum(dim=0) / weights.sum()
    return FacePoints(*_two_means(*places["eyes"], what), mouth_centre)


def _two_means(points: Tensor, weights: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """[N, 2] and their weights [N] -> two centres [2]."""
    mean = (points * weights[:, None]).sum(dim=0) / weights.sum()
    offset = points - mean
    spread = (offset * weights[:, None]).t() @ offset / weights.sum()
    axis = torch.linalg.eigh(spread).eigenvectors[:, -1]
    along = offset @ axis
    cut = along.new_zeros(())
    for _ in range(20):
        right = along > cut
        if not (bool(right.any()) and bool((~right).any())):
            raise InputError(f"{what} shows one eye or none that can be told apart; two are needed.")
        sides = [(along[k] * weights[k]).sum() / weights[k].sum() for k in (~right, right)]
        middle = (sides[0] + sides[1]) / 2
        if bool(middle == cut):
            break
        cut = middle
    right = along > cut
    centres = [(points[k] * weights[k, None]).sum(dim=0) / weights[k].sum() for k in (~right, right)]
    return centres[0], centres[1]
