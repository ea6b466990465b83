"""Handles and targets of a drag: parsed from typed text, or from the JSON that point editors give.

Points are (x, y), x to the right and y down, from the picture's top left corner; the middle of the first pixel is
(0.5, 0.5). Whole numbers from an editor that counts pixels are half a pixel off by this, which nobody can click.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.code_range import is_number
from ...models.errors import InputError, check_choice
from ...models.nesting import is_deeper
from ..common.coordinate_units import are_fractions

__all__ = ["MAX_POINTS", "UNITS", "DragPoints", "parse_points"]

UNITS = ("auto", "pixels", "fractions")
MAX_POINTS = 64
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")  # no two runs that could share their digits
_ARROW = re.compile("->|=>|→|to")
_LONGEST_LINE = 1000  # letters
_DEEPEST = 50  # lists and objects within each other
_FORMS = 'one \'x,y -> x,y\' per line, or JSON such as [[[x, y], [x, y]], ...] or {"handles": [...], "targets": [...]}'
# Names that editors give the two ends of a drag.
_FROM = ("handles", "handle", "from", "start", "source", "positive", "points")
_TO = ("targets", "target", "to", "end", "destination", "negative")

Pair = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class DragPoints:
    """handles [N, 2] and targets [N, 2], each (x, y) in the generator's pixels."""

    handles: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Return N, the number of drags."""
        return len(self.handles)


def parse_points(
    text: str,
    size: tuple[int, int],  # height, width of the picture that is dragged
    units: str = "auto",
    targets: str | None = None,  # the targets' own list, where `text` holds the handles alone
    canvas: tuple[int, int] | None = None,  # height, width of the picture the points were set on, where it is another
) -> DragPoints:
    """Read drags from text or JSON.

    Text: a line "x,y -> x,y" for each drag; "#" begins a remark. JSON: pairs [[hx, hy], [tx, ty]] or rows
    [hx, hy, tx, ty]; tracks (the first and the last point of each count); objects {"x": , "y": } in place of [x, y];
    one flat list, in which handle and target take turns; {"handles": [...], "targets": [...]}, also under the names
    positive and negative, from and to, start and end. "width" and "height" beside them name the canvas, "units" the
    units.

    units "auto" takes numbers for fractions of width and height when nearly all lie in 0..1 and one of them is not
    whole.

    Raises:
        InputError: text that cannot be read, unequal counts, no drag, more than 64, a handle outside the picture, or a
            target that lies outside, or where its handle is already.
    """
    check_choice("units", units, UNITS)
    pairs, document = _read_pairs(text) if targets is None else (_read_two_lists(text, targets), {})
    if document.get("units") is not None and units == "auto":
        units = _named_units(document["units"])
    if canvas is None and "width" in document and "height" in document:
        canvas = (_canvas_length(document["height"], "height"), _canvas_length(document["width"], "width"))
    if not pairs:
        raise InputError(f"The points are empty: expected {_FORMS}.")
    if len(pairs) > MAX_POINTS:
        raise InputError(f"There are {len(pairs)} drags; at most {MAX_POINTS} are possible at once.")
    numbers = [number for pair in pairs for point in pair for number in point]
    if not all(math.isfinite(number) for number in numbers):
        raise InputError("The points hold a number that is not finite (NaN or infinity).")
    if units == "auto":
        units = _guess_units(numbers)
    height, width = size
    if units == "fractions":
        scale, meaning = (width, height), "fractions of a picture, 0 to 1"
    else:
        canvas_height, canvas_width = canvas or size
        scale = (width / canvas_width, height / canvas_height)
        meaning = f"pixels of a picture of {canvas_width} x {canvas_height}"
    _check_positions(pairs, scale, size, meaning)
    scaled = torch.tensor(pairs, dtype=torch.float64) * torch.tensor(scale, dtype=torch.float64)  # [N, 2, 2]
    return DragPoints(scaled[:, 0].float(), scaled[:, 1].float())


def _guess_units(numbers: Sequence[float]) -> str:
    integers = all(number == int(number) for number in numbers)
    return "fractions" if are_fractions(numbers) and not integers else "pixels"


def _check_positions(pairs: Sequence[Pair], scale: tuple[float, float], size: tuple[int, int], meaning: str) -> None:
    for number, pair in enumerate(pairs, start=1):
        for name, (x, y) in zip(("handle", "target"), pair, strict=True):
            if not (0 <= x * scale[0] <= size[1] and 0 <= y * scale[1] <= size[0]):
                raise InputError(
                    f"The {name} of drag {number} is at ({x:g}, {y:g}), outside the picture; the points were read as "
                    f"{meaning}. Move it inside, or choose other units."
                )
        if pair[0] == pair[1]:
            raise InputError(f"Drag {number} has its target where its handle is; move one of them, or leave it out.")


def _read_two_lists(text: str, targets: str) -> list[Pair]:
    handles, ends = _read_points(text, "points"), _read_points(targets, "targets")
    if len(handles) != len(ends):
        raise InputError(f"There are {len(handles)} handles and {len(ends)} targets; each handle needs one target.")
    return list(zip(handles, ends, strict=True))


def _read_pairs(text: str) -> tuple[list[Pair], Mapping]:
    """Read pairs, and the JSON object that held them ({} for other forms)."""
    text = (text or "").strip()
    if not text:
        raise InputError(f"The points are empty: expected {_FORMS}.")
    lines = _lines(text)
    if text[0] in "[{" and not (lines and _pair_of_line(lines[0])):
        document = _load_json(text, "points")
        if isinstance(document, Mapping):
            return _pairs_of_object(document), document
        return _pairs_of_list(document), {}
    pairs = []
    for line in lines:
        pair = _pair_of_line(line)
        if pair is None:
            raise InputError(f"The points have a line {_excerpt(line)} that cannot be read: expected {_FORMS}.")
        pairs.append(pair)
    return pairs, {}


def _read_points(text: str, name: str) -> list[tuple[float, float]]:
    """Read one point an entry: lines of "x,y", or a JSON list of points."""
    text = (text or "").strip()
    if not text:
        raise InputError(f"The {name} are empty: expected one 'x,y' per line, or JSON [[x, y], ...].")
    if text[0] in "[{" and not _point_of_line(text.splitlines()[0]):
        document = _load_json(text, name)
        if isinstance(document, Mapping):
            document = _first_value(document, (*_FROM, *_TO, "coordinates")) if "x" not in document else [document]
        if not isinstance(document, list):
            raise InputError(f"The {name} hold no list of points: expected JSON [[x, y], ...].")
        return [_point(entry, name) for entry in document]
    points = []
    for line in _lines(text):
        point = _point_of_line(line)
        if point is None:
            raise InputError(f"The {name} have a line {_excerpt(line)} that is no point: expected 'x,y'.")
        points.append(point)
    return points


def _pair_of_line(line: str) -> Pair | None:
    """Read "x,y -> x,y"; None for other text."""
    ends = _ARROW.split(line) if len(line) <= _LONGEST_LINE else []
    points = [_point_of_line(end) for end in ends]
    return (points[0], points[1]) if len(points) == 2 and None not in points else None


def _point_of_line(text: str) -> tuple[float, float] | None:
    """Read "x,y", "x y" or "(x; y)"; None for other text."""
    text = text.strip()
    if len(text) > _LONGEST_LINE:
        return None
    text = text[text[:1] in ("(", "[") :]
    text = text[: len(text) - (text[-1:] in (")", "]"))].replace(";", ",")
    words = [word.strip() for word in (text.split(",") if "," in text else text.split())]
    if len(words) != 2 or not all(_NUMBER.fullmatch(word) for word in words):
        return None
    return float(words[0]), float(words[1])


def _pairs_of_object(document: Mapping) -> list[Pair]:
    handles, targets = _first_value(document, _FROM), _first_value(document, _TO)
    if handles is not None and targets is None:
        return _pairs_of_list(handles)
    if handles is None or targets is None:
        raise InputError(f"The points are a JSON object with {_key_names(document)}; it needs 'handles' and 'targets'.")
    if _is_point(handles) and _is_point(targets):
        handles, targets = [handles], [targets]
    if not isinstance(handles, list) or not isinstance(targets, list):
        raise InputError("The 'handles' and 'targets' of the points must be lists of points.")
    if len(handles) != len(targets):
        raise InputError(f"There are {len(handles)} handles and {len(targets)} targets; each handle needs one target.")
    return [(_point(a, "handles"), _point(b, "targets")) for a, b in zip(handles, targets, strict=True)]


def _pairs_of_list(entries: object) -> list[Pair]:
    if not isinstance(entries, list):
        raise InputError(f"The points are no list: expected {_FORMS}.")
    if entries and all(_is_point(entry) for entry in entries):
        if len(entries) % 2:
            raise InputError(
                f"The points are one list of {len(entries)} points; handle and target take turns in such a list, so "
                "their number must be even."
            )
        points = [_point(entry, "points") for entry in entries]
        return list(zip(points[::2], points[1::2], strict=True))
    return [_pair(entry) for entry in entries]


def _pair(entry: object) -> Pair:
    if isinstance(entry, Mapping):
        pairs = _pairs_of_object(entry)
        if len(pairs) == 1:
            return pairs[0]
    if isinstance(entry, list):
        if len(entry) == 4 and all(is_number(number) for number in entry):
            return (float(entry[0]), float(entry[1])), (float(entry[2]), float(entry[3]))
        if len(entry) >= 2 and all(_is_point(point) for point in entry):
            return _point(entry[0], "points"), _point(entry[-1], "points")
    raise InputError(f"The points hold {_excerpt(entry)}, which is no pair of handle and target: expected {_FORMS}.")


def _is_point(entry: object) -> bool:
    if isinstance(entry, Mapping):
        return is_number(entry.get("x")) and is_number(entry.get("y"))
    return isinstance(entry, list) and len(entry) == 2 and all(is_number(number) for number in entry)


def _point(entry: object, name: str) -> tuple[float, float]:
    if not _is_point(entry):
        raise InputError(f"The {name} hold {_excerpt(entry)}, which is no point: expected [x, y] or {{'x': , 'y': }}.")
    x, y = (entry["x"], entry["y"]) if isinstance(entry, Mapping) else entry
    try:
        return float(x), float(y)
    except OverflowError:
        raise InputError(f"The {name} hold a number that is too large to be a place in a picture.") from None


def _first_value(document: Mapping, names: Sequence[str]) -> object:
    """Return the value under the first of these names that has one; None for none."""
    return next((document[name] for name in names if document.get(name) is not None), None)


def _load_json(text: str, name: str) -> object:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"The {name} look like JSON but cannot be read ({_excerpt(problem)}).") from None
    if is_deeper(document, _DEEPEST):
        raise InputError(f"The {name} cannot be read: their lists lie more than {_DEEPEST} deep within each other.")
    return document


def _lines(text: str) -> list[str]:
    lines = (line.split("#")[0].strip().rstrip(",; ") for line in text.splitlines())
    return [line for line in lines if line]


def _named_units(value: object) -> str:
    if value in UNITS:
        return str(value)
    raise InputError(f"The points name the units {_excerpt(value)}; expected one of {', '.join(UNITS)}.")


def _canvas_length(value: object, name: str) -> int:
    if is_number(value) and 1 <= value <= 1_000_000:
        return int(value)
    raise InputError(f"The points name a {name} of {_excerpt(value)}; expected the canvas' size in pixels.")


def _key_names(document: Mapping) -> str:
    return ", ".join(repr(str(key)[:20]) for key in list(document)[:5]) or "nothing in it"


def _excerpt(value: object) -> str:
    text = str(value).replace("\n", " ")
    return repr(text if len(text) <= 60 else text[:57] + "...")
