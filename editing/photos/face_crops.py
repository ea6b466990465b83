"""The largest face of one photo, cut out as a generator's training pictures hold faces (FFHQ, 1812.04948)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ...models.errors import InputError
from ..common.face_landmarks import LandmarkedFace, read_face_landmarks
from .crops import Cropping, align, extract_crops
from .detections import Detection
from .landmarks import LAYOUTS, face_from_points

__all__ = ["crop_face"]


def crop_face(
    photo: Tensor,
    opacity: Tensor,
    detect: Callable[[Tensor], Sequence[Any]],
    crop_size: tuple[int, int],
    framing: str,
) -> tuple[Tensor, Tensor, bool]:
    """Crop the largest face of a photo; of one that shows none, the middle.

    Args:
        photo: [H, W, 3] in 0..1.
        opacity: [H, W] in 0..1.
        detect: photo [H, W, 3] -> its faces, each an object as FACE_LANDMARKS holds them.
        crop_size: height, width.
        framing: of FRAMINGS.

    Returns:
        The crop [h, w, 3] in 0..1, its opacity [h, w], which is 0 beyond the photo, and whether there was a face.

    Raises:
        InputError: the detector gives no face meshes, or an unknown framing.
    """
    size = (photo.shape[0], photo.shape[1])
    (faces,) = read_face_landmarks({"frames": [list(detect(photo))], "image_size": size}, 1, size)
    detections = _whole_faces(faces, size)
    alignment = align(detections, 1, size, crop_size, Cropping(framing), missing="centre")
    (crop,), (inside,) = extract_crops(photo[None], alignment)
    if bool((opacity < 1).any()):
        (opaque,), _ = extract_crops(opacity[None, ..., None].expand(-1, -1, -1, 3), alignment, "edge", False)
        inside = inside * opaque[..., 0]
    return crop, inside, bool(detections)


def _whole_faces(faces: Sequence[LandmarkedFace], size: tuple[int, int]) -> list[Detection]:
    """Return the faces whose eyes and mouth lie in the photo and can be told apart: the others have no frame."""
    detections = []
    for face in faces:
        if len(face.points) not in LAYOUTS:
            face_from_points(face.points, "A face of the detector")  # which says how many points it has
        with contextlib.suppress(InputError):
            points = face_from_points(face.points)
            points.check_inside(size, "A face")
            detections.append(Detection(0, points))
    return detections
