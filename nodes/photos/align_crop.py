"""Align Crop: square-on crops of a generator's size out of photos of any shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from ...editing.common.part_labels import PartLabels
from ...editing.common.pictures import check_pictures
from ...editing.photos.alignment import FRAMINGS, smooth_alignment
from ...editing.photos.crops import FACES, MISSING, Cropping, align, draw_frames, extract_crops
from ...editing.photos.detections import (
    BOX_FORMS,
    Detection,
    detect_boxes,
    detect_frames,
    detect_in_masks,
    detect_in_parts,
    detect_landmarks,
    detect_points,
    detect_poses,
)
from ...editing.photos.warp import BORDERS
from ...host import current, io
from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ..common.latents import picture_names
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, with_advanced
from ..common.sockets import (
    AlignmentType,
    BoundingBoxType,
    BoxesType,
    FaceLandmarksType,
    GanGeneratorType,
    PartLabelsType,
    PoseKeypointType,
)

METHODS = ("auto", "points", "boxes", "pose", "parts", "mask", "centre", "landmarks")


class AlignCrop(io.ComfyNode):
    """Finds nothing itself: it takes what any detector gives, or the middle of the photo."""

    @classmethod
    @with_advanced("box_format", "shift_down", "level", "border", "border_blur", "width", "height", "frames")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditAlignCrop",
            display_name="Align Crop",
            category=menu_category("photos"),
            description="Cuts faces or things out of photos of any shape, turned and scaled as the generator knows "
            "them, and remembers where they were so that Paste Back can return them.",
            **search_aliases("face crop", "crop and stitch", "FFHQ align", "align face", "detect face"),
            inputs=[
                io.Image.Input("photos", tooltip="Full photos of any size and shape, one or a batch."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    tooltip="What says where to cut. auto: the first of points, landmarks, boxes, pose, parts and "
                    "mask that is given, else the centre.",
                ),
                io.String.Input(
                    "points",
                    default="",
                    multiline=True,
                    tooltip="Points of a face: JSON or lines of x and y, empty line between faces. 3 (eyes, mouth), 4, "
                    "5 (eyes, nose, mouth corners), 68, 70, 468 or 478 points, or names. In pixels or all in 0..1.",
                ),
                io.String.Input(
                    "boxes",
                    default="",
                    tooltip="Boxes of faces or things as JSON, such as [[x0, y0, x1, y1]]. In pixels or all in 0..1.",
                ),
                io.Combo.Input(
                    "box_format",
                    options=list(BOX_FORMS),
                    tooltip="Whether a box's last numbers are a corner or a size.",
                ),
                io.Combo.Input(
                    "framing",
                    options=list(FRAMINGS),
                    tooltip="How the generator's training pictures hold a face: ffhq for most face models, demo "
                    "portraits for the demo generator. For points, landmarks, pose and parts.",
                ),
                io.Combo.Input(
                    "faces", options=list(FACES), tooltip="largest: one crop per photo. all: each, from left to right."
                ),
                io.Combo.Input(
                    "missing",
                    options=list(MISSING),
                    tooltip="What to do when a photo shows nothing: refuse it, leave it out, or crop its centre.",
                ),
                io.Float.Input("zoom", default=1.0, min=0.2, max=10.0, step=0.05, tooltip="Above 1: closer."),
                io.Float.Input(
                    "margin",
                    default=0.25,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="Space on each side of a box or mask, in its own width and height.",
                ),
                io.Float.Input(
                    "shift_down",
                    default=0.0,
                    min=-1.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Moves the frame down, in sides of the crop; negative moves it up.",
                ),
                io.Boolean.Input("level", default=True, tooltip="Turn the crop with the face, so that it is upright."),
                io.Combo.Input(
                    "border",
                    options=list(BORDERS),
                    tooltip="What is seen beyond the photo's border: its mirror image, its edge, or black.",
                ),
                io.Boolean.Input(
                    "border_blur", default=True, tooltip="Blur what lies beyond the photo's border, more outwards."
                ),
                io.Int.Input(
                    "width", default=0, min=0, max=4096, tooltip="Width of the crops. 0: the generator's, else 512."
                ),
                io.Int.Input(
                    "height", default=0, min=0, max=4096, tooltip="Height of the crops. 0: the generator's, else 512."
                ),
                GanGeneratorType.Input(
                    "generator", optional=True, tooltip="The crops get this generator's size where width is 0."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 on the face or thing, from any segmenter: its bounding box and a margin are cut.",
                ),
                BoxesType.Input("bboxes", optional=True, tooltip="Boxes from a detector node, in place of the text."),
                PoseKeypointType.Input(
                    "pose", optional=True, tooltip="OpenPose or DWPose keypoints with faces, one entry per photo."
                ),
                PartLabelsType.Input(
                    "parts", optional=True, tooltip="Part labels with eyes and mouth, one set per photo."
                ),
                io.String.Input(
                    "names", optional=True, force_input=True, tooltip="Names of the photos, one a line, for reports."
                ),
                FaceLandmarksType.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Faces from ComfyUI's Detect Face Landmarks (MediaPipe), found in the same photos.",
                ),
                BoundingBoxType.Input(
                    "bounding_boxes",
                    optional=True,
                    tooltip="Boxes from ComfyUI's own detectors, in place of the text.",
                    extra_dict={"forceInput": True},  # newer pages would draw a widget for it
                ),
                io.Float.Input(
                    "frames",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    optional=True,
                    tooltip="For clips: crops are steadied over so many neighbouring frames. 0: every photo alone.",
                ),
            ],
            outputs=[
                io.Image.Output("crops", "crops", tooltip="The crops, ready for Encode Images or Invert Images."),
                AlignmentType.Output("alignment", "alignment", tooltip="Where each crop came from, for Paste Back."),
                io.Image.Output(
                    "preview", "preview", tooltip="The photos with the crops' outlines; the mark is on top."
                ),
                io.Mask.Output(
                    "inside",
                    "inside",
                    tooltip="1 where a crop shows the photo, 0 beyond its border: a mask for Invert Images.",
                ),
                io.String.Output("crop_names", "crop_names", tooltip="A name for each crop, one a line."),
            ],
        )

    @classmethod
    def execute(
        cls,
        photos: torch.Tensor,
        method: str,
        points: str,
        boxes: str,
        box_format: str,
        framing: str,
        faces: str,
        missing: str,
        zoom: float,
        margin: float,
        shift_down: float,
        level: bool,
        border: str,
        border_blur: bool,
        width: int,
        height: int,
        generator: GanGenerator | None = None,
        mask: torch.Tensor | None = None,
        bboxes: Any = None,
        pose: Any = None,
        parts: PartLabels | None = None,
        names: str | None = None,
        landmarks: Any = None,
        bounding_boxes: Any = None,
        frames: float = 0.0,
    ) -> io.NodeOutput:
        check_pictures(photos, "The photos")
        check_choice("method", method, METHODS)
        check_choice("box format", box_format, BOX_FORMS)
        check_choice("border", border, BORDERS)
        cropping = Cropping(framing, zoom, margin, shift_down, level)
        count, size = len(photos), tuple(photos.shape[1:3])
        inputs = {
            "points": (points.strip() or None, detect_points),
            "landmarks": (landmarks, detect_landmarks),
            "boxes": (boxes.strip() or None, partial(detect_boxes, form=box_format)),
            "pose": (pose, detect_poses),
            "parts": (parts, detect_in_parts),
            "mask": (mask, detect_in_masks),
        }
        if bboxes is not None:
            inputs["boxes"] = (bboxes, partial(detect_boxes, form=box_format))
        elif bounding_boxes is not None:
            inputs["boxes"] = (bounding_boxes, detect_frames)
        detections = _detect(method, inputs, count, size)
        labels = picture_names(names, count)
        crop_size = _crop_size(width, height, generator)
        alignment = align(detections, count, size, crop_size, cropping, faces, missing, labels)
        alignment = smooth_alignment(alignment, frames)
        crops, inside = extract_crops(photos, alignment, border, border_blur, progress_for(len(alignment), "cropping"))
        device = current().result_device()
        preview = draw_frames(photos, alignment).to(device)
        return io.NodeOutput(crops.to(device), alignment, preview, inside.to(device), "\n".join(alignment.names))


def _detect(
    method: str, inputs: dict[str, tuple[Any, Callable[..., list[Detection]]]], count: int, size: tuple[int, int]
) -> list[Detection] | None:
    """Return the faces or things that the method's input marks; None for the centre.

    Args:
        inputs: method -> its value, None where it is not given, and the reader of it.
    """
    if method == "auto":
        method = next((name for name, (value, _) in inputs.items() if value is not None), "centre")
    if method == "centre":
        return None
    value, detect = inputs[method]
    if value is None:
        raise InputError(f"The method is '{method}', but no {method} are given: connect or type them.")
    return detect(value, count, size)


def _crop_size(width: int, height: int, generator: GanGenerator) -> tuple[int, int]:
    """Return height and width of the crops in pixels."""
    if (width == 0) != (height == 0):
        raise InputError(f"Give both width and height, or neither; got {width} x {height}.")
    if width:
        if min(width, height) < 16:
            raise InputError(f"The crops would be {width} x {height}; expected at least 16 pixels a side.")
        return height, width
    return generator.resolution if generator is not None else (512, 512)
