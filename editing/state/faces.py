"""Readers of a face: distances and angles of its landmarks, its blendshapes (ARKit's) and the pose of its head."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from ..common.face_landmarks import LandmarkedFace
from .reader import StateReader

__all__ = ["FACES", "FACE_MEASURES", "face_measure_names", "measure_faces", "reader_from_face"]

FACES = ("largest", "only")  # which face is read where a picture has several
FACE_MEASURES: dict[str, str] = {  # name -> unit; of meshes with 468 or 478 points, and of 68
    "mouth open": "of the eyes' distance",
    "mouth width": "of the eyes' distance",
    "smile": "of the eyes' distance",
    "eyes open": "of the eyes' width",
    "brows raised": "of the eyes' distance",
    "face width": "of the face's height",
    "turn": "degrees",
    "nod": "degrees",
    "tilt": "degrees",
}
# The points that are measured, by the number of points of a layout: mesh of MediaPipe, and iBUG 300-W. "left" is the
# left of the picture.
_MESH = {
    "eye_left": (33, 133), "eye_right": (362, 263),  # corners, from left to right
    "lid_left": ((159, 145), (160, 144), (158, 153)), "lid_right": ((386, 374), (385, 380), (387, 373)),
    "mouth": (61, 291), "lips": (13, 14), "brows": ((105, 66), (296, 334)),
    "cheeks": (234, 454), "top": 10, "chin": 152, "nose": 1,
}  # fmt: skip
_IBUG = {
    "eye_left": (36, 39), "eye_right": (42, 45),
    "lid_left": ((37, 41), (38, 40)), "lid_right": ((43, 47), (44, 46)),
    "mouth": (48, 54), "lips": (62, 66), "brows": ((18, 20), (23, 25)),
    "cheeks": (0, 16), "top": 27, "chin": 8, "nose": 30,
}  # fmt: skip
_LAYOUTS = {478: _MESH, 468: _MESH, 68: _IBUG, 70: _IBUG}
_NOSE_DEPTH = 0.55  # how far the nose stands out before the cheeks, as a share of half the face's width
_POSES = ("turn", "nod", "tilt")

Detect = Callable[[Tensor], Sequence[Sequence[LandmarkedFace]]]  # pictures [B, 3, H, W] -> the faces of each


def face_measure_names(face: LandmarkedFace) -> tuple[str, ...]:
    """List what can be read of a face like this: measures, then its blendshapes by the names they have."""
    measures = tuple(FACE_MEASURES) if len(face.points) in _LAYOUTS else _POSES if face.pose is not None else ()
    return measures + tuple(face.blendshapes)


def measure_faces(faces: Sequence[Sequence[LandmarkedFace]], names: Sequence[str], choice: str = FACES[0]) -> Tensor:
    """Measure the face of each picture.

    Distances are divided by the face's own, after the head's tilt is taken out, so that neither size nor place counts.

    Args:
        faces: of B pictures.
        names: of `FACE_MEASURES`, or of blendshapes such as "jawOpen"; several joined by " + " are averaged, such as
            "mouthSmileLeft + mouthSmileRight".
        choice: "largest" reads the largest face of several, "only" none of them.

    Returns:
        [B, K] float32; NaN where there is no face (or several, with "only").

    Raises:
        InputError: a name that the faces do not have.
    """
    check_choice("choice of faces", choice, FACES)
    rows = []
    for picture in faces:
        face = _chosen(picture, choice)
        rows.append([math.nan] * len(names) if face is None else [_measured(face, name) for name in names])
    return torch.tensor(rows, dtype=torch.float32).reshape(len(faces), len(names))


def explain_faces(faces: Sequence[Sequence[LandmarkedFace]], choice: str = FACES[0]) -> tuple[str, ...]:
    """Say of each picture why its face cannot be read; "" where it can."""
    sentences = {0: "it shows no face"}
    return tuple(
        "" if len(picture) == 1 or (picture and choice == FACES[0])
        else sentences.get(len(picture), f"it shows {len(picture)} faces, and only a single one is read")
        for picture in faces
    )  # fmt: skip


def reader_from_face(
    detect: Detect, names: Sequence[str], choice: str = FACES[0], noise: Tensor | None = None
) -> StateReader:
    """Build a reader of faces.

    Args:
        detect: any detector of landmarks.
        names, choice: as in `measure_faces`.
        noise: as a `StateReader`'s.
    """
    check_choice("choice of faces", choice, FACES)
    return StateReader(
        lambda pictures: measure_faces(detect(pictures), names, choice).to(pictures.device),
        tuple(names),
        tuple(FACE_MEASURES.get(name, "0..1") for name in names),
        noise,
        "face",
        lambda pictures: explain_faces(detect(pictures), choice),
    )


def _chosen(faces: Sequence[LandmarkedFace], choice: str) -> LandmarkedFace | None:
    if not faces or (choice == "only" and len(faces) > 1):
        return None
    return max(faces, key=lambda face: float((face.points.amax(dim=0) - face.points.amin(dim=0)).prod()))


def _measured(face: LandmarkedFace, name: str) -> float:
    if " + " in name:
        names = [part.strip() for part in name.split("+")]
        return sum(_measured(face, one) for one in names) / len(names)
    if name in face.blendshapes:
        return float(face.blendshapes[name])
    if name in _POSES and face.pose is not None:
        return _angles(face.pose)[_POSES.index(name)]
    layout = _LAYOUTS.get(len(face.points))
    if name not in FACE_MEASURES or layout is None:
        names = ", ".join(face_measure_names(face)) or f"nothing, as its {len(face.points)} points are no mesh"
        raise InputError(f"The face has no '{name}'; what can be read of it: {names}.")
    return _MEASURES[name](face.points, layout)


def _angles(pose: Tensor) -> tuple[float, float, float]:
    """Return a pose's turn, nod and tilt in degrees, [4, 4] from the canonical face (y up, z to the camera)."""
    rotation = pose[:3, :3] / pose[:3, :3].norm(dim=0).clamp(min=1e-12)
    turn = math.degrees(math.atan2(float(rotation[0, 2]), float(rotation[2, 2])))
    nod = math.degrees(math.asin(max(-1.0, min(1.0, float(-rotation[1, 2])))))
    tilt = math.degrees(math.atan2(float(rotation[1, 0]), float(rotation[1, 1])))
    return turn, nod, tilt


def _upright(points: Tensor, layout: dict) -> Tensor:
    """Turn points [N, 2] so that the eyes lie level, y down, in units of the distance between the eyes' middles."""
    left, right = points[list(layout["eye_left"])].mean(dim=0), points[list(layout["eye_right"])].mean(dim=0)
    across = right - left
    distance = across.norm().clamp(min=1e-9)
    x = across / distance
    return (points - (left + right) / 2) @ torch.stack([x, torch.stack([-x[1], x[0]])], dim=1) / distance


def _distance(points: Tensor, pair: tuple[int, int]) -> float:
    return float((points[pair[0]] - points[pair[1]]).norm())


def _mouth_open(points: Tensor, layout: dict) -> float:
    return _distance(_upright(points, layout), layout["lips"])


def _mouth_width(points: Tensor, layout: dict) -> float:
    return _distance(_upright(points, layout), layout["mouth"])


def _smile(points: Tensor, layout: dict) -> float:
    """Corners of the mouth above the middle of the lips, and apart: both rise with a smile."""
    upright = _upright(points, layout)
    lift = float(upright[list(layout["lips"]), 1].mean() - upright[list(layout["mouth"]), 1].mean())
    return lift + 0.5 * _distance(upright, layout["mouth"])


def _eyes_open(points: Tensor, layout: dict) -> float:
    ratios = []
    for eye, lid in (("eye_left", "lid_left"), ("eye_right", "lid_right")):
        heights = [_distance(points, pair) for pair in layout[lid]]
        ratios.append(sum(heights) / len(heights) / max(_distance(points, layout[eye]), 1e-9))
    return sum(ratios) / 2


def _brows_raised(points: Tensor, layout: dict) -> float:
    """Height of the brows' middles above the eyes' line."""
    upright = _upright(points, layout)
    return float(-torch.stack([upright[list(pair), 1].mean() for pair in layout["brows"]]).mean())


def _face_width(points: Tensor, layout: dict) -> float:
    return _distance(points, layout["cheeks"]) / max(_distance(points, (layout["top"], layout["chin"])), 1e-9)


def _turn(points: Tensor, layout: dict) -> float:
    """Angle by which the nose stands off the middle between the cheeks; above 0 toward the picture's right."""
    upright = _upright(points, layout)
    left, right = (float(upright[k, 0]) for k in layout["cheeks"])
    half = max(abs(right - left) / 2, 1e-9)
    return math.degrees(math.atan2((float(upright[layout["nose"], 0]) - (left + right) / 2) / half, _NOSE_DEPTH))


def _nod(points: Tensor, layout: dict) -> float:
    """Angle by which the nose stands off its usual height between eyes and chin; above 0 upward."""
    upright = _upright(points, layout)
    chin = max(float(upright[layout["chin"], 1]), 1e-9)
    return math.degrees(math.atan2(0.38 - float(upright[layout["nose"], 1]) / chin, _NOSE_DEPTH))


def _tilt(points: Tensor, layout: dict) -> float:
    """Angle of the eyes' line; above 0 where the right eye of the picture lies higher."""
    across = points[list(layout["eye_right"])].mean(dim=0) - points[list(layout["eye_left"])].mean(dim=0)
    return math.degrees(math.atan2(-float(across[1]), float(across[0])))


_MEASURES = dict(
    zip(
        FACE_MEASURES,
        (_mouth_open, _mouth_width, _smile, _eyes_open, _brows_raised, _face_width, _turn, _nod, _tilt),
        strict=True,
    )
)
