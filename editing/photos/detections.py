"""Detections: faces and boxes of numbered photos, from text or JSON, OpenPose's JSON, masks and part labels."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError, check_choice
from ..common.part_labels import PartLabels
from .landmarks import LAYOUTS, FacePoints, face_from_names, face_from_parts, face_from_points

__all__ = [
    "BOX_FORMS",
    "Box",
    "Detection",
    "detect_boxes",
    "detect_in_masks",
    "detect_in_parts",
    "detect_points",
    "detect_poses",
]

BOX_FORMS = ("corners", "corner and size")
_SPECK = 0.01  # areas below this share of a mask's largest are specks
_EXPECTED = (
    'expected JSON such as [[x, y], [x, y], ...] per face, {"left_eye": [x, y], "right_eye": [x, y], "mouth": '
    "[x, y]}, or lines of x and y with an empty line between faces"
)


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
    photos. Numbers that all lie in 0..1 are fractions of width and height.

    Args:
        photos: how many there are.
        photo_size: height, width.

    Raises:
        InputError: anything else, degenerate points, points outside the photo, or counts that do not match.
    """
    faces = _read_faces(_parse_text(text, "The points"))
    pictures = _assign_photos([number for number, _ in faces], photos, "faces", "points")
    detections = []
    for k, (picture, (_, points)) in enumerate(zip(pictures, faces, strict=True)):
        source = f"Face {k + 1} of the points"
        face = _face_points(_to_pixels(points, photo_size), source)
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
    boxes = _parse_text(boxes, "The boxes") if isinstance(boxes, str) else _to_lists(boxes)
    numbered = _read_boxes(boxes, form)
    pictures = _assign_photos([number for number, _ in numbered], photos, "boxes", "boxes")
    detections = []
    for k, (picture, (_, edges)) in enumerate(zip(pictures, numbered, strict=True)):
        scale = photo_size[::-1] * 2 if all(0 <= edge <= 1 for edge in edges) else (1, 1, 1, 1)
        box = Box(*(edge * factor for edge, factor in zip(edges, scale, strict=True)))
        if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= photo_size[1] or box.y0 >= photo_size[0]:
            raise InputError(
                f"Box {k + 1} from ({box.x0:g}, {box.y0:g}) to ({box.x1:g}, {box.y1:g}) lies outside the photo of "
                f"{photo_size[1]} x {photo_size[0]} pixels. Was it found in a picture of another size?"
            )
        detections += [Detection(n, box) for n in (range(photos) if picture is None else (picture,))]
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
    poses = _parse_text(poses, "The pose keypoints") if isinstance(poses, str) else poses
    poses = [poses] if isinstance(poses, Mapping) else poses
    if not isinstance(poses, Sequence) or not all(
        isinstance(pose, Mapping) and isinstance(pose.get("people"), list) for pose in poses
    ):
        raise InputError("The pose is no OpenPose keypoints: expected a list of objects with 'people', one per photo.")
    if len(poses) != photos:
        raise InputError(f"There are poses of {len(poses)} pictures for {photos} photos; they must match.")
    detections = []
    for k, pose in enumerate(poses):
        source = f"The pose in photo {k + 1}"
        for person in pose["people"]:
            points = _face_keypoints(person, source)
            if points is None:
                continue
            if bool((points.abs() <= 1).all()):
                scale = photo_size[::-1]
            else:
                canvas = pose.get("canvas_width") or photo_size[1], pose.get("canvas_height") or photo_size[0]
                scale = photo_size[1] / canvas[0], photo_size[0] / canvas[1]
            face = face_from_points(points * torch.tensor(scale, dtype=torch.float64), source)
            face.check_inside(photo_size, source)
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
    per_mask = [_areas(mask > 0.5) for mask in masks]
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


def _parse_text(text: str, source: str) -> Any:
    """Read JSON, or lines of numbers: a list of faces, each a list of points."""
    text = text.strip()
    if not text:
        raise InputError(f"{source} are empty; {_EXPECTED}.")
    if text[0] in "[{":
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{source} are no valid JSON ({problem}); {_EXPECTED}.") from None
    faces = [
        [_parse_numbers(line, source) for line in block.splitlines() if line.strip()]
        for block in re.split(r"\n\s*\n", text)
    ]
    # A line of two numbers is a point; a longer one is a face, or a box, of its own.
    blocks = [block for block in faces if block]
    if all(len(line) == 2 for block in blocks for line in block):
        return blocks
    return [line for block in blocks for line in block]


def _parse_numbers(line: str, source: str) -> list[float]:
    try:
        return [float(word) for word in re.split(r"[\s,;]+", line.strip(" \t,;()[]"))]
    except ValueError:
        raise InputError(f"{source} hold the line {line.strip()[:60]!r}, which is not numbers; {_EXPECTED}.") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not finite")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_point(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _is_number(value.get("x")) and _is_number(value.get("y"))
    return isinstance(value, list) and len(value) in (2, 3) and all(map(_is_number, value))


def _point(value: Any) -> list[float]:
    return (
        [float(value["x"]), float(value["y"])]
        if isinstance(value, Mapping)
        else [float(number) for number in value[:2]]
    )


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and all(_is_point(point) for point in value.values())


def _read_faces(document: Any) -> list[tuple[int | None, Any]]:
    """Return (the photo's number or None, points [[x, y], ...] or {name: [x, y]}) of each face."""
    if _is_named(document):
        return [(None, {name: _point(value) for name, value in document.items()})]
    if isinstance(document, Mapping):
        body = next((document[key] for key in ("points", "landmarks", "kps") if key in document), None)
        if body is None:
            raise InputError(
                f"The points hold an object with {', '.join(map(str, document)) or 'nothing'}; {_EXPECTED}."
            )
        number = document.get("picture")
        if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
            raise InputError(f"A face names the picture {number!r}; expected a whole number, counted from 0.")
        return [(number, face) for _, face in _read_faces(body)]
    if isinstance(document, list) and document:
        if all(map(_is_point, document)) and not all(map(_is_number, document)):
            return [(None, [_point(value) for value in document])]
        if all(map(_is_number, document)):
            if len(document) % 2:
                raise InputError(f"A face has {len(document)} numbers; expected pairs of x and y.")
            return [(None, [[float(x), float(y)] for x, y in zip(document[::2], document[1::2], strict=True)])]
        if all(isinstance(value, (list, Mapping)) for value in document):
            return [face for value in document for face in _read_faces(value)]
    raise InputError(f"The points cannot be read; {_EXPECTED}.")


def _face_points(points: Any, source: str) -> FacePoints:
    if isinstance(points, Mapping):
        return face_from_names(points, source)
    return face_from_points(torch.tensor(points, dtype=torch.float64), source)


def _to_pixels(points: Any, photo_size: tuple[int, int]) -> Any:
    """Scale points that are all fractions, listed or named, to pixels."""
    values = list(points.values()) if isinstance(points, Mapping) else points
    if not all(0 <= number <= 1 for value in values for number in value):
        return points
    scaled = [[x * photo_size[1], y * photo_size[0]] for x, y in values]
    return dict(zip(points, scaled, strict=True)) if isinstance(points, Mapping) else scaled


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


def _to_lists(value: Any) -> Any:
    """Convert tensors, arrays and tuples to lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _to_lists(nested) for key, nested in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_lists(nested) for nested in value]
    return value


def _read_boxes(document: Any, form: str) -> list[tuple[int | None, list[float]]]:
    """Return (the photo's number or None, [x0, y0, x1, y1]) of each box."""
    if isinstance(document, Mapping):
        number = document.get("picture")
        for keys in (("startX", "startY", "endX", "endY"), ("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2")):
            if all(_is_number(document.get(key)) for key in keys):
                return [(number, [float(document[key]) for key in keys])]
        if all(_is_number(document.get(key)) for key in ("x", "y", "width", "height")):
            x, y, width, height = (float(document[key]) for key in ("x", "y", "width", "height"))
            return [(number, [x, y, x + width, y + height])]
        for key in ("bbox", "bboxes", "boxes", "box"):
            if key in document:
                return [(number, box) for _, box in _read_boxes(document[key], form)]
    if isinstance(document, list) and len(document) == 4 and all(map(_is_number, document)):
        x, y, third, fourth = map(float, document)
        return [(None, [x, y, third, fourth] if form == "corners" else [x, y, x + third, y + fourth])]
    if isinstance(document, list) and document and all(isinstance(value, (list, Mapping)) for value in document):
        if all(isinstance(value, list) and (not value or isinstance(value[0], (list, Mapping))) for value in document):
            return [
                (k if number is None else number, box)
                for k, value in enumerate(document)
                if value
                for number, box in _read_boxes(value, form)
            ]
        return [box for value in document for box in _read_boxes(value, form)]
    raise InputError(
        "The boxes cannot be read; expected JSON such as [[x0, y0, x1, y1], ...], one list of boxes per photo, or "
        "objects with x, y, width and height."
    )


def _areas(mask: Tensor) -> list[tuple[int, int, int, int]]:
    """Return boxes x0, y0, x1, y1 of the connected areas (also over corners) of a mask [h, w], from left to right."""
    mask = mask.cpu()
    if not bool(mask.any()):
        return []
    # Worked out on at most 512 pixels a side; a cell counts when any of its pixels does.
    cell = max(1, -(-max(mask.shape) // 512))
    coarse = F.max_pool2d(mask[None, None].float(), cell, ceil_mode=True)[0, 0] > 0
    labels = repeat(_connected(coarse), "h w -> (h y) (w x)", y=cell, x=cell)
    fine = labels[: mask.shape[0], : mask.shape[1]] * mask
    areas = []
    for label, count in zip(*fine[fine > 0].unique(return_counts=True), strict=True):
        y, x = torch.nonzero(fine == label, as_tuple=True)
        areas.append((int(count), (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)))
    largest = max(count for count, _ in areas)
    return sorted(box for count, box in areas if count >= _SPECK * largest)


def _connected(mask: Tensor) -> Tensor:
    """Label a mask [h, w] by int64 numbers above 0, equal within an area: each pixel follows its largest neighbour."""
    numbers = torch.arange(1, mask.numel() + 1, dtype=torch.float64).reshape(mask.shape) * mask
    while True:
        spread = F.max_pool2d(numbers[None, None], 3, 1, 1)[0, 0] * mask
        # A number is the index of a pixel of the same area: jumping to that pixel's number halves the way each time.
        index = (spread.flatten().long() - 1).clamp(min=0)
        spread = torch.maximum(spread, spread.flatten()[index].reshape(mask.shape) * mask)
        if bool((spread == numbers).all()):
            return numbers.long()
        numbers = spread
