"""Documents of points and boxes: JSON, lists or lines of numbers, as people type them and detector nodes send them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...models.code_range import is_number
from ...models.errors import InputError
from ...models.nesting import is_deeper

__all__ = ["parse_text", "read_boxes", "read_faces", "to_lists", "to_pixels"]

_DEEPEST = 50  # lists and objects within each other; the readers call themselves for each
_EXPECTED = (
    'expected JSON such as [[x, y], [x, y], ...] per face, {"left_eye": [x, y], "right_eye": [x, y], "mouth": '
    "[x, y]}, or lines of x and y with an empty line between faces"
)


def parse_text(text: str, source: str) -> Any:
    """Read JSON, or lines of numbers: a list of faces, each a list of points."""
    text = text.strip()
    if not text:
        raise InputError(f"{source} are empty; {_EXPECTED}.")
    if text[0] in "[{":
        try:
            document = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{source} are no valid JSON ({problem}); {_EXPECTED}.") from None
        if is_deeper(document, _DEEPEST):
            raise InputError(f"{source} cannot be read: their lists lie more than {_DEEPEST} deep; {_EXPECTED}.")
        return document
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


def _is_point(value: Any) -> bool:
    if isinstance(value, Mapping):
        return is_number(value.get("x")) and is_number(value.get("y"))
    return isinstance(value, list) and len(value) in (2, 3) and all(map(is_number, value))


def _point(value: Any) -> list[float]:
    return (
        [float(value["x"]), float(value["y"])]
        if isinstance(value, Mapping)
        else [float(number) for number in value[:2]]
    )


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0 and all(_is_point(point) for point in value.values())


def read_faces(document: Any) -> list[tuple[int | None, Any]]:
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
        return [(number, face) for _, face in read_faces(body)]
    if isinstance(document, list) and document:
        if all(map(_is_point, document)) and not all(map(is_number, document)):
            return [(None, [_point(value) for value in document])]
        if all(map(is_number, document)):
            if len(document) % 2:
                raise InputError(f"A face has {len(document)} numbers; expected pairs of x and y.")
            return [(None, [[float(x), float(y)] for x, y in zip(document[::2], document[1::2], strict=True)])]
        if all(isinstance(value, (list, Mapping)) for value in document):
            return [face for value in document for face in read_faces(value)]
    raise InputError(f"The points cannot be read; {_EXPECTED}.")


def to_pixels(points: Any, photo_size: tuple[int, int]) -> Any:
    """Scale points that are fractions, listed or named, to pixels of (height, width)."""
    values = list(points.values()) if isinstance(points, Mapping) else points
    scaled = [[x * photo_size[1], y * photo_size[0]] for x, y in values]
    return dict(zip(points, scaled, strict=True)) if isinstance(points, Mapping) else scaled


def to_lists(value: Any) -> Any:
    """Convert tensors, arrays and tuples to lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: to_lists(nested) for key, nested in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_lists(nested) for nested in value]
    return value


def read_boxes(document: Any, form: str) -> list[tuple[int | None, list[float]]]:
    """Return (the photo's number or None, [x0, y0, x1, y1]) of each box."""
    if isinstance(document, Mapping):
        number = document.get("picture")
        for keys in (("startX", "startY", "endX", "endY"), ("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2")):
            if all(is_number(document.get(key)) for key in keys):
                return [(number, [float(document[key]) for key in keys])]
        if all(is_number(document.get(key)) for key in ("x", "y", "width", "height")):
            x, y, width, height = (float(document[key]) for key in ("x", "y", "width", "height"))
            return [(number, [x, y, x + width, y + height])]
        for key in ("bbox", "bboxes", "boxes", "box"):
            if key in document:
                return [(number, box) for _, box in read_boxes(document[key], form)]
    if isinstance(document, list) and len(document) == 4 and all(map(is_number, document)):
        x, y, third, fourth = map(float, document)
        return [(None, [x, y, third, fourth] if form == "corners" else [x, y, x + third, y + fourth])]
    if isinstance(document, list) and document and all(isinstance(value, (list, Mapping)) for value in document):
        if all(isinstance(value, list) and (not value or isinstance(value[0], (list, Mapping))) for value in document):
            return [
                (k if number is None else number, box)
                for k, value in enumerate(document)
                if value
                for number, box in read_boxes(value, form)
            ]
        return [box for value in document for box in read_boxes(value, form)]
    raise InputError(
        "The boxes cannot be read; expected JSON such as [[x0, y0, x1, y1], ...], one list of boxes per photo, or "
        "objects with x, y, width and height."
    )
