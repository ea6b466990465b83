"""Read From Face: smile, opening of mouth and eyes, pose and blendshapes of real faces, by ComfyUI's own detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from einops import rearrange
from torch import Tensor

from ...editing.common.face_landmarks import LandmarkedFace, read_face_landmarks
from ...editing.state import FACE_MEASURES, measure_faces, reader_from_face, with_measured_noise
from ...editing.state.faces import FACES
from ...host import current, io
from ...host.face_detector import build_detector
from ...models.errors import InputError, check_choice
from ..common.images import from_image_batch
from ..common.schema import menu_category, search_aliases
from ..common.sockets import FaceDetectionType, FaceLandmarksType, StateReaderType


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
        detector: Any = None,
        landmarks: Any = None,
        pictures: Tensor | None = None,
    ) -> io.NodeOutput:
        check_choice("measure", measure, FACE_MEASURES)
        check_choice("faces", faces, FACES)
        if detector is None and landmarks is None:
            raise InputError(
                "Neither a detector nor landmarks came in. Connect ComfyUI's Load Face Detection Model (MediaPipe) or "
                "Detect Face Landmarks (MediaPipe), of version 0.23 or newer; elsewhere use Read From Example or Mask."
            )
        name = blendshape.strip() or measure
        detect = _no_detector if detector is None else _detector(detector)
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


def _detector(model: Any) -> Callable[[Tensor], list[list[LandmarkedFace]]]:
    """Return pictures [B, 3, H, W] in -1..1 -> the faces of each, by ComfyUI's FACE_DETECTION_MODEL."""
    find = build_detector(model)

    def detect(pictures: Tensor) -> list[list[LandmarkedFace]]:
        frames = []
        for photo in rearrange(pictures.add(1).mul(0.5), "b c h w -> b h w c"):
            current().check_interrupt()
            frames.append(find(photo))
        return read_face_landmarks({"frames": frames, "image_size": tuple(pictures.shape[2:])}, len(pictures))

    return detect


def _no_detector(pictures: Tensor) -> list[list[LandmarkedFace]]:
    raise InputError(
        "This reader was made from landmarks alone, which belong to their own pictures. Use its output 'readings' for "
        "those, or connect a detector to read others."
    )
