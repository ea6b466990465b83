"""Read From Face: smile, opening of mouth and eyes, pose and blendshapes of real faces, by ComfyUI's own detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...editing.common.face_landmarks import LandmarkedFace, read_face_landmarks
from ...editing.state import FACE_MEASURES, measure_faces, reader_from_face, with_measured_noise
from ...editing.state.faces import FACES
from ...host import current, io
from ...models.errors import InputError, check_choice
from ..common.images import from_image_batch
from ..common.schema import menu_category, search_aliases
from ..common.sockets import FaceDetectionType, FaceLandmarksType, StateReaderType

RANGES = ("short", "full")  # of ComfyUI's detector: near faces, and small ones farther away
_MOST_FACES = 8  # that are looked for in a picture


class ReadFromFace(io.ComfyNode):
    """The two sockets are ComfyUI's own since mid 2026; older versions leave them unconnected."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditReadFromFace",
            display_name="Read From Face",
            category=menu_category("state"),
            description="Reads a smile, how far mouth or eyes are open, the turn of a head or a blendshape from real "
            "faces, with ComfyUI's own face detector.",
            **search_aliases("MediaPipe", "blendshapes", "ARKit", "expression", "head pose", "face mesh"),
            inputs=[
                io.Combo.Input(
                    "measure",
                    options=list(FACE_MEASURES),
                    tooltip="What is read of the face's points: distances in the face's own size, angles in degrees.",
                ),
                io.String.Input(
                    "blendshape",
                    default="",
                    tooltip="Instead of measure: one of the detector's blendshapes, such as jawOpen, or the mean of "
                    "several, such as mouthSmileLeft + mouthSmileRight.",
                ),
                io.Combo.Input(
                    "faces",
                    options=list(FACES),
                    tooltip="Of several faces in a picture: read the largest, or none (only).",
                ),
                io.Combo.Input(
                    "detector_range",
                    options=list(RANGES),
                    tooltip="short: faces that fill a good part of the picture. full: smaller ones, slower.",
                ),
                FaceDetectionType.Input(
                    "detector",
                    optional=True,
                    tooltip="From ComfyUI's Load Face Detection Model (MediaPipe): the reader then finds faces itself.",
                ),
                FaceLandmarksType.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Faces that ComfyUI's Detect Face Landmarks (MediaPipe) has found: their numbers come out "
                    "as readings.",
                ),
                io.Image.Input(
                    "pictures",
                    optional=True,
                    tooltip="With a detector: pictures to read at once, and to measure the noise on.",
                ),
            ],
            outputs=[
                StateReaderType.Output(
                    "reader", "reader", tooltip="For Plan Strengths, Reach State and Measure State; needs the detector."
                ),
                io.Float.Output(
                    "readings",
                    "readings",
                    is_output_list=True,
                    tooltip="The number of each picture of landmarks or pictures, for Plan Strengths; NaN without a "
                    "face.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        measure: str,
        blendshape: str,
        faces: str,
        detector_range: str,
        detector: Any = None,
        landmarks: Any = None,
        pictures: Tensor | None = None,
    ) -> io.NodeOutput:
        check_choice("measure", measure, FACE_MEASURES)
        check_choice("faces", faces, FACES)
        check_choice("detector_range", detector_range, RANGES)
        if detector is None and landmarks is None:
            raise InputError(
                "Neither a detector nor landmarks came in. Connect ComfyUI's Load Face Detection Model (MediaPipe) or "
                "Detect Face Landmarks (MediaPipe), of version 0.23 or newer; elsewhere use Read From Example or Mask."
            )
        name = blendshape.strip() or measure
        detect = _no_detector if detector is None else _detector(detector, detector_range)
        reader = reader_from_face(detect, (name,), faces)
        readings: list[float] = []
        if pictures is not None and detector is not None:
            batch = from_image_batch(pictures)
            readings = reader.read(batch)[:, 0].tolist()
            if any(reading == reading for reading in readings):  # one face at least, or no noise can be measured
                reader = with_measured_noise(reader, batch)
        if landmarks is not None:
            frames = landmarks.get("frames") if isinstance(landmarks, dict) else None
            known = read_face_landmarks(landmarks, len(frames) if isinstance(frames, list | tuple) else 0)
            readings = measure_faces(known, (name,), faces)[:, 0].tolist()
        return io.NodeOutput(reader, readings)


def _detector(model: Any, detector_range: str) -> Callable[[Tensor], list[list[LandmarkedFace]]]:
    """Return pictures [B, 3, H, W] in -1..1 -> the faces of each, by ComfyUI's FACE_DETECTION_MODEL."""
    if not callable(getattr(model, "detect_batch", None)):
        raise InputError(
            f"The detector is a {type(model).__name__}; connect ComfyUI's Load Face Detection Model (MediaPipe)."
        )

    def detect(pictures: Tensor) -> list[list[LandmarkedFace]]:
        current().check_interrupt()
        images = pictures.add(1).mul(127.5).round().clamp(0, 255).to("cpu", torch.uint8)
        arrays = list(rearrange(images, "b c h w -> b h w c").numpy())
        frames = model.detect_batch(arrays, num_faces=_MOST_FACES, score_thresh=0.5, variant=detector_range)
        return read_face_landmarks({"frames": frames, "image_size": tuple(pictures.shape[2:])}, len(pictures))

    return detect


def _no_detector(pictures: Tensor) -> list[list[LandmarkedFace]]:
    raise InputError(
        "This reader was made from landmarks alone, which belong to their own pictures. Use its output 'readings' for "
        "those, or connect a detector to read others."
    )
