"""A detector of face meshes outside of ComfyUI: MediaPipe's 478 points, where the user has the package."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ...models.loading.face_mesh import import_face_mesh
from ..common.face_landmarks import LandmarkedFace, read_face_landmarks
from .reader import check_picture_batch

__all__ = ["mesh_detector"]


def mesh_detector(
    most_faces: int = 4, confidence: float = 0.5, attention: bool = True
) -> Callable[[Tensor], list[list[LandmarkedFace]]]:
    """Return a detector for `reader_from_face`, by the package mediapipe (the extra ``[faces]``).

    Args:
        most_faces: in one picture.
        confidence: of the detector, 0..1, below which there is no face.
        attention: the network that looks at lips, eyes and irises again, 478 points; else the plain one, 468.

    Returns:
        pictures [B, 3, H, W] in -1..1 -> the faces of each, points in pixels; a picture may have none.

    Raises:
        InputError: the package is missing or has no mesh; a number of faces or a confidence that is none.
    """
    if most_faces < 1 or not 0 <= confidence <= 1:
        raise InputError(f"Faces are 1 or more, and a confidence is 0..1; got {most_faces} and {confidence:g}.")
    network = import_face_mesh().FaceMesh(
        static_image_mode=True,
        max_num_faces=most_faces,
        refine_landmarks=attention,
        min_detection_confidence=confidence,
    )

    def detect(pictures: Tensor) -> list[list[LandmarkedFace]]:
        check_picture_batch(pictures)
        height, width = pictures.shape[-2:]
        rows = rearrange(pictures.detach().float().cpu(), "b c h w -> b h w c").add(1).mul(127.5)
        frames = []
        for image in rows.clamp(0, 255).round().to(torch.uint8).numpy():
            meshes = network.process(image).multi_face_landmarks or ()
            frames.append([_face(mesh.landmark, width, height) for mesh in meshes])
        return read_face_landmarks({"frames": frames, "image_size": (height, width)}, len(pictures), (height, width))

    return detect


def _face(points: object, width: int, height: int) -> dict:
    """Return a mesh as FACE_LANDMARKS hold it: points in pixels, depth in the same scale as x."""
    return {
        "landmarks_xy": [[point.x * width, point.y * height] for point in points],
        "landmarks_3d": [[point.x * width, point.y * height, point.z * width] for point in points],
    }
