"""Face meshes (FACE_LANDMARKS of ComfyUI's MediaPipe detector): points, blendshapes and head pose of each face."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError

__all__ = ["LandmarkedFace", "read_face_landmarks"]

_EXPECTED = (
    'expected FACE_LANDMARKS as ComfyUI\'s Detect Face Landmarks gives them: "frames", a list of faces per picture, '
    'each with its "landmarks_xy"'
)


@dataclass(frozen=True, eq=False)
class LandmarkedFace:
    """A face of one picture; what a detector does not give is None or empty.

    Raises:
        InputError: the points are not [N, 2] finite numbers.
    """

    points: Tensor  # [N, 2] float64, (x, y) in pixels of the picture
    points_3d: Tensor | None = None  # [N, 3] float64, in units of the detector's own crop
    blendshapes: Mapping[str, float] = field(default_factory=dict)  # name, such as "jawOpen" -> 0..1
    pose: Tensor | None = None  # [4, 4] float64, from the canonical face to the camera
    score: float | None = None  # of the detector

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2 or not len(self.points):
            raise InputError(f"The points of a face have shape {list(self.points.shape)}; expected [N, 2].")
        if not bool(torch.isfinite(self.points).all()):
            raise InputError("The points of a face are not all finite numbers.")


def read_face_landmarks(
    landmarks: Any, pictures: int, picture_size: tuple[int, int] | None = None
) -> list[list[LandmarkedFace]]:
    """Read FACE_LANDMARKS into the faces of each picture; a picture may have none.

    Args:
        landmarks: {"frames": [[face, ...], ...], "image_size": (height, width)}, arrays or lists within.
        pictures: how many there are.
        picture_size: height, width of the pictures; points that were detected at another size are scaled to it.

    Raises:
        InputError: another form, faces of another number of pictures, or points that are no finite numbers.
    """
    frames = landmarks.get("frames") if isinstance(landmarks, Mapping) else None
    if not _is_list(frames) or not all(map(_is_list, frames)):
        raise InputError(f"The face landmarks cannot be read; {_EXPECTED}.")
    if len(frames) != pictures:
        raise InputError(
            f"There are face landmarks of {len(frames)} pictures for {pictures} pictures; detect them in the same "
            "batch."
        )
    scale = _scale(landmarks.get("image_size"), picture_size)
    return [
        [_read_face(face, scale, f"Face {n + 1} of picture {k + 1}") for n, face in enumerate(faces)]
        for k, faces in enumerate(frames)
    ]


def _scale(detected_size: Any, picture_size: tuple[int, int] | None) -> Tensor:
    """Return the factors [2] of x and y from the size of the detection to that of the pictures."""
    if picture_size is None or detected_size is None:
        return torch.ones(2, dtype=torch.float64)
    size = _numbers(detected_size, "The image_size of the face landmarks")
    if size.shape != (2,) or not bool((size >= 1).all()):
        raise InputError(f"The image_size of the face landmarks is {detected_size!r}; expected height and width.")
    height, width = size.tolist()
    return torch.tensor([picture_size[1] / width, picture_size[0] / height], dtype=torch.float64)


def _read_face(face: Any, scale: Tensor, source: str) -> LandmarkedFace:
    if not isinstance(face, Mapping) or face.get("landmarks_xy") is None:
        raise InputError(f"{source} has no landmarks_xy; {_EXPECTED}.")
    points = _numbers(face["landmarks_xy"], f"The landmarks_xy of {source.lower()}")
    if points.ndim != 2 or points.shape[1] < 2 or not len(points):
        raise InputError(f"{source} has landmarks_xy of shape {list(points.shape)}; expected [N, 2].")
    points_3d, pose = face.get("landmarks_3d"), face.get("transformation_matrix")
    blendshapes = face.get("blendshapes") or {}
    if not isinstance(blendshapes, Mapping):
        raise InputError(f"{source} has blendshapes that are no names with numbers; {_EXPECTED}.")
    score = face.get("score")
    return LandmarkedFace(
        points[:, :2] * scale,
        None if points_3d is None else _shaped(points_3d, (len(points), 3), f"The landmarks_3d of {source.lower()}"),
        {str(name): _number(amount, f"{source}, blendshape {name!r}") for name, amount in blendshapes.items()},
        None if pose is None else _shaped(pose, (4, 4), f"The transformation_matrix of {source.lower()}"),
        None if score is None else _number(score, f"The score of {source.lower()}"),
    )


def _shaped(numbers: Any, shape: tuple[int, int], source: str) -> Tensor:
    tensor = _numbers(numbers, source)
    if tensor.shape != shape:
        raise InputError(f"{source} has shape {list(tensor.shape)}; expected {list(shape)}.")
    return tensor


def _number(number: Any, source: str) -> float:
    try:
        finite = math.isfinite(number)
    except (TypeError, ValueError, OverflowError):
        finite = False
    if not finite:
        raise InputError(f"{source} is {number!r}; expected a finite number.")
    return float(number)


def _numbers(numbers: Any, source: str) -> Tensor:
    """Convert an array, a tensor or lists to float64 on the CPU."""
    try:
        tensor = torch.as_tensor(numbers).detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{source} are no numbers in rows of one length.") from None
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{source} are not all finite numbers.")
    return tensor


def _is_list(document: Any) -> bool:
    return isinstance(document, Sequence) and not isinstance(document, str | bytes)
