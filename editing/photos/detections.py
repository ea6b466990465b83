"""Detections: faces and boxes of numbered photos, from text or JSON, OpenPose's JSON, masks and part labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError, check_choice
from ..common.coordinate_units import are_fractions
from ..common.face_landmarks import read_face_landmarks
from ..common.part_labels import PartLabels
from .connected_areas import area_boxes
from .detection_documents import parse_text, read_boxes, read_faces, to_lists, to_pixels
from .landmarks import LAYOUTS, FacePoints, face_from_names, face_from_parts, face_from_points, used_points

__all__ = [
    "BOX_FORMS",
    "Box",
    "Detection",
    "detect_boxes",
    "detect_frames",
    "detect_in_masks",
    "detect_in_parts",
    "detect_landmarks",
    "detect_points",
    "detect_poses",
]

BOX_FORMS = ("corners", "corner and size")


@dataclass(frozen=True, eq=False)
class Box:
    """A box of a photo, in pixels.

    Raises:
        InputError: it has no area, or is not finite.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (self.x1 - self.x0 >= 1 and self.y1 - self.y0 >= 1 and math.isfinite(sum(self))):
            raise InputError(
                f"A box from ({self.x0:g}, {self.y0:g}) to ({self.x1:g}, {self.y1:g}) has no area; expected its left "
                "top and right bottom corner in pixels. Do the boxes hold a corner and a size instead?"
            )

    def __iter__(self):
        return iter((self.x0, self.y0, self.x1, self.y1))


@dataclass(frozen=True, eq=False)
class Detection:
    """A face or a box, in the photo with this number."""

    picture: int
    geometry: FacePoints | Box


def detect_points(text: str, photos: int, photo_size: tuple[int, int]) -> list[Detection]:
    """Read faces from text or JSON.

    A face is a list of points (3, 4, 5, 68, 70, 468 or 478 of them, as [x, y] or {"x": , "y": }), a flat list of their
    numbers, an object with named points, or {"picture": number from 0, "points": one of these}. Several faces belong to
    the one photo there is, or one each to as many photos, or each to the photo it names; one face serves any number of
    photos. Numbers are fractions of width and height where nearly all lie in 0..1; points beside the eyes and the mouth
    do not count.

    Args:
        photos: how many there are.
        photo_size: height, width.

    Raises:
        InputError: anything else, degenerate points, points outside the photo, or counts that do not match.
    """
    faces = read_faces(parse_text(text, "The points"))
    pictures = _assign_photos([number for number, _ in faces], photos, "faces", "points")
    fractions = are_fractions([number for _, points in faces for point in used_points(points) for number in point])
    detections = []
    for k, (picture, (_, points)) in enumerate(zip(pictures, faces, strict=True)):
        source = f"Face {k + 1} of the points"
        face = _face_points(to_pixels(points, photo_size) if fractions else points, source)
        face.check_inside(photo_size, source)
        detections += [Detection(n, face) for n in (range(photos) if picture is None else (picture,))]
    return detections


def detect_boxes(boxes: Any, photos: int, photo_size: tuple[int, int], form: str = "corners") -> list[Detection]:
    """Read boxes from JSON text, or from the lists, tuples, objects or tensors that detector nodes send.

    A box is four numbers (``form`` says which), or an object: x, y, width and height; startX to endY; x0 to y1; or
    "bbox". Photos are assigned as in :func:`detect_points`, or by one list of boxes per photo.

    Args:
        photos: how many there are.
        photo_size: height, width.
        form: of BOX_FORMS.

    Raises:
        InputError: anything else, boxes without area or outside the photo, or counts that do not match.
    """
    check_choice("box format", form, BOX_FORMS)
    boxes = parse_text(boxes, "The boxes") if isinstance(boxes, str) else to_lists(boxes)
    numbered = read_boxes(boxes, form)
    pictures = _assign_photos([number for number, _ in numbered], photos, "boxes", "boxes")
    scale = photo_size[::-1] * 2 if are_fractions([edge for _, edges in numbered for edge in edges]) else (1, 1, 1, 1)
    detections = []
    for k, (picture, (_, edges)) in enumerate(zip(pictures, numbered, strict=True)):
        box = Box(*(edge * factor for edge, factor in zip(edges, scale, strict=True)))
        if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= photo_size[1] or box.y0 >= photo_size[0]:
            raise InputError(
                f"Box {k + 1} from ({box.x0:g}, {box.y0:g}) to ({box.x1:g}, {box.y1:g}) lies outside the photo of "
                f"{photo_size[1]} x {photo_size[0]} pixels. Was it found in a picture of another size?"
            )
        detections += [Detection(n, box) for n in (range(photos) if picture is None else (picture,))]
    return detections


def detect_frames(boxes: Any, photos: int, photo_size: tuple[int, int]) -> list[Detection]:
    """Read BOUNDING_BOX, as ComfyUI's own detectors send it: a box, the boxes of all photos, or a list for each photo.

    A box has x, y, width and height in pixels; a label and a score have no say. One list serves all photos, as it does
    in ComfyUI's nodes, and a list may be empty.

    Args:
        photos: how many there are.
        photo_size: height, width.

    Raises:
        InputError: as :func:`detect_boxes`.
    """
    boxes = [boxes] if isinstance(boxes, Mapping) else to_lists(boxes)
    if not isinstance(boxes, list):
        raise InputError(f"The bounding boxes are of type {type(boxes).__name__}; expected a list of boxes per photo.")
    frames = [boxes] if all(isinstance(box, Mapping) for box in boxes) else boxes
    if len(frames) not in (1, photos):
        raise InputError(f"There are bounding boxes of {len(frames)} pictures for {photos} photos; they must match.")
    if not any(frames):
        return []
    return detect_boxes(frames * photos if len(frames) == 1 else frames, photos, photo_size, "corner and size")


def detect_landmarks(landmarks: Any, photos: int, photo_size: tuple[int, int]) -> list[Detection]:
    """Read faces from FACE_LANDMARKS, as ComfyUI's Detect Face Landmarks gives them.

    Args:
        landmarks: as in :func:`read_face_landmarks`.
        photos: how many there are.
        photo_size: height, width.

    Raises:
        InputError: as :func:`read_face_landmarks`; a mesh of an unknown number of points, or eyes or a mouth that are
            degenerate or outside the photo.
    """
    detections = []
    for k, faces in enumerate(read_face_landmarks(landmarks, photos, photo_size)):
        for mesh in faces:
            source = f"The face mesh in photo {k + 1}"
            face = face_from_points(mesh.points, source)
            face.check_inside(photo_size, source)
            detections.append(Detection(k, face))
    return detections


def detect_poses(poses: Any, photos: int, photo_size: tuple[int, int]) -> list[Detection]:
    """Read faces from POSE_KEYPOINT, as OpenPose gives it.

    Per photo {"people": [{"face_keypoints_2d": [x, y, confidence, ...]}]}; people without face keypoints are left out.

    Args:
        photos: how many there are.
        photo_size: height, width.

    Raises:
        InputError: another form or number of photos.
    """
    poses = parse_text(poses, "The pose keypoints") if isinstance(poses, str) else poses
    poses = [poses] if isinstance(poses, Mapping) else poses
    if not isinstance(poses, Sequence) or not all(
        isinstance(pose, Mapping) and isinstance(pose.get("people"), list) for pose in poses
    ):
        raise InputError("The pose is no OpenPose keypoints: expected a list of objects with 'people', one per photo.")
    if len(poses) != photos:
        raise InputError(f"There are poses of {len(poses)} pictures for {photos} photos; they must match.")
    sources = [f"The pose in photo {k + 1}" for k in range(photos)]
    faces = [(k, _face_keypoints(person, sources[k])) for k, pose in enumerate(poses) for person in pose["people"]]
    faces = [(k, points) for k, points in faces if points is not None]
    fractions = are_fractions(
        [number for _, points in faces for point in used_points(points.tolist()) for number in point]
    )
    detections = []
    for k, points in faces:
        if fractions:
            scale = photo_size[::-1]
        else:
            canvas = poses[k].get("canvas_width") or photo_size[1], poses[k].get("canvas_height") or photo_size[0]
            scale = photo_size[1] / canvas[0], photo_size[0] / canvas[1]
        face = face_from_points(points * torch.tensor(scale, dtype=torch.float64), sources[k])
        face.check_inside(photo_size, sources[k])
        detections.append(Detection(k, face))
    return detections


def _face_keypoints(person: Any, source: str) -> Tensor | None:
    """Return the face's points [N, 2] of a person, None where the eyes and mouth were not all detected."""
    try:
        numbers = torch.tensor(person.get("face_keypoints_2d") or [], dtype=torch.float64)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{source} holds a person whose face_keypoints_2d are no list of numbers.") from None
    if numbers.numel() // 3 not in LAYOUTS or numbers.numel() % 3:
        return None
    triples = rearrange(numbers.flatten(), "(points xyc) -> points xyc", xyc=3)
    used = [index for group in LAYOUTS[len(triples)] for index in group]
    return None if bool((triples[used, 2] <= 0).any()) else triples[:, :2]


def detect_in_masks(masks: Tensor, photos: int, photo_size: tuple[int, int]) -> list[Detection]:
    """Detect boxes round the connected areas of masks above one half; the masks are stretched over the photos.

    Areas smaller than a hundredth of a photo's largest are specks.

    Args:
        masks: [photos or 1, h, w] or [h, w], in 0..1.
        photos: how many there are.
        photo_size: height, width.

    Raises:
        InputError: another number of masks, or another shape.
    """
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or 0 in masks.shape:
        raise InputError(f"The mask has shape {list(masks.shape)}; expected a MASK [B, H, W].")
    if len(masks) not in (1, photos):
        raise InputError(f"There are {len(masks)} masks for {photos} photos; give one each, or one for all.")
    scale_x, scale_y = photo_size[1] / masks.shape[2], photo_size[0] / masks.shape[1]
    per_mask = [area_boxes(mask > 0.5) for mask in masks]
    return [
        Detection(k, Box(x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y))
        for k in range(photos)
        for x0, y0, x1, y1 in per_mask[k if len(per_mask) > 1 else 0]
    ]


def detect_in_parts(parts: PartLabels, photos: int, photo_size: tuple[int, int]) -> list[Detection]:
    """Detect one face per photo from its part labels: "eyes" (or a label for each eye) and "mouth".

    Photos whose labels show no face are left out.

    Args:
        photos: how many there are.
        photo_size: height, width.

    Raises:
        InputError: the labels have no such names, or there is another number of label sets.
    """
    if len(parts) not in (1, photos):
        raise InputError(f"There are part labels of {len(parts)} pictures for {photos} photos; they must match.")
    mouth = _part_mask(parts, ("mouth", "lips"))
    eyes = _part_mask(parts, ("eyes", "eye"), ("left_eye", "right_eye"), ("l_eye", "r_eye"), ("eye_left", "eye_right"))
    height, width = parts.masks.shape[-2:]
    scale = torch.tensor([photo_size[1] / width, photo_size[0] / height], dtype=torch.float64)
    detections = []
    for k in range(photos):
        index = k if len(parts) > 1 else 0
        try:
            face = face_from_parts(eyes[index], mouth[index], f"Photo {k + 1}")
            scaled = FacePoints(face.eye_left * scale, face.eye_right * scale, face.mouth * scale)
            detections.append(Detection(k, scaled))
        except InputError:
            continue  # whoever asked says which photos have no face
    return detections


def _part_mask(parts: PartLabels, *choices: tuple[str, ...]) -> Tensor:
    """Sum the masks of the first choice that has labelled names, [B, h, w]; a choice may have several spellings."""
    for names in choices:
        labelled = [name for name in names if name in parts.names]
        if labelled:
            return torch.stack([parts.part(name) for name in labelled]).sum(dim=0).clamp(0, 1)
    raise InputError(f"No part is called {choices[0][0]}; these are labelled: {', '.join(parts.names)}.")


def _face_points(points: Any, source: str) -> FacePoints:
    if isinstance(points, Mapping):
        return face_from_names(points, source)
    return face_from_points(torch.tensor(points, dtype=torch.float64), source)


def _assign_photos(numbers: Sequence[int | None], photos: int, plural: str, source: str) -> list[int | None]:
    """Return the photo of each face or box (``plural`` names them); None: it serves all."""
    for number in numbers:
        if number is not None and not 0 <= number < photos:
            raise InputError(f"The {source} name photo {number}; there are the photos 0 to {photos - 1}.")
    if None not in numbers:
        return list(numbers)
    if any(number is not None for number in numbers):
        raise InputError(f"Some {plural} name their picture and some do not; name it for all of them.")
    if photos == 1:
        return [0] * len(numbers)
    if len(numbers) == 1:
        return [None]
    if len(numbers) == photos:
        return list(range(photos))
    raise InputError(
        f"There are {len(numbers)} {plural} for {photos} photos. Give one for each, one for all, or name the photo "
        f'of each with "picture", counted from 0.'
    )
