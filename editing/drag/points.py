"""Where to drag from and to: what a person types, and the JSON that point editors give, as handles and targets.

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

from ...models.errors import InputError

__all__ = ["MAX_POINTS", "UNITS", "DragPoints", "parse_points"]

UNITS = ("auto", "pixels", "fractions")
MAX_POINTS = 64
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_POINT = rf"[(\[]?\s*({_NUMBER})\s*[,; ]\s*({_NUMBER})\s*[)\]]?"
_ARROW = re.compile(rf"{_POINT}\s*(?:->|=>|→|to)\s*{_POINT}")
_LONE = re.compile(_POINT)
_FORMS = 'one \'x,y -> x,y\' per line, or JSON such as [[[x, y], [x, y]], ...] or {"handles": [...], "targets": [...]}'
# What editors call the two ends of a drag.
_FROM = ("handles", "handle", "from", "start", "source", "positive", "points")
_TO = ("targets", "target", "to", "end", "destination", "negative")

Pair = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class DragPoints:
    """handles [N, 2] and targets [N, 2], each (x, y) in the generator's pixels."""

    handles: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """N, the number of drags."""
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

    units "auto" takes numbers for fractions of width and height when all lie in 0..1 and one of them is not whole.

    Raises InputError for what cannot be read, unequal counts, no drag, more than 64, a handle outside the picture, and
    a target that lies outside, or where its handle is already.
    """
    if units not in UNITS:
        raise InputError(f"The units of the points are {units!r}; expected one of {', '.join(UNITS)}.")
    pairs, said = _read(text, "points") if targets is None else (_read_both(text, targets), {})
    if said.get("units") is not None and units == "auto":
        units = _said_units(said["units"])
    if canvas is None and "width" in said and "height" in said:
        canvas = (_side(said["height"], "height"), _side(said["width"], "width"))
    if not pairs:
        raise InputError(f"The points are empty: expected {_FORMS}.")
    if len(pairs) > MAX_POINTS:
        raise InputError(f"There are {len(pairs)} drags; at most {MAX_POINTS} are possible at once.")
    numbers = [number for pair in pairs for point in pair for number in point]
    if not all(math.isfinite(number) for number in numbers):
        raise InputError("The points hold a number that is not finite (NaN or infinity).")
    if units == "auto":
        whole = all(number == int(number) for number in numbers)
        units = "fractions" if all(0 <= number <= 1 for number in numbers) and not whole else "pixels"
    height, width = size
    if units == "fractions":
        scale, where = (width, height), "fractions of a picture, 0 to 1"
    else:
        high, wide = canvas or size
        scale, where = (width / wide, height / high), f"pixels of a picture of {wide} x {high}"
    _check(pairs, scale, size, where)
    found = torch.tensor(pairs, dtype=torch.float64) * torch.tensor(scale, dtype=torch.float64)
    return DragPoints(found[:, 0].float(), found[:, 1].float())


def _check(pairs: Sequence[Pair], scale: tuple[float, float], size: tuple[int, int], where: str) -> None:
    for number, pair in enumerate(pairs, start=1):
        for what, (x, y) in zip(("handle", "target"), pair, strict=True):
            if not (0 <= x * scale[0] <= size[1] and 0 <= y * scale[1] <= size[0]):
                raise InputError(
                    f"The {what} of drag {number} is at ({x:g}, {y:g}), outside the picture; the points were read as "
                    f"{where}. Move it inside, or choose other units."
                )
        if pair[0] == pair[1]:
            raise InputError(f"Drag {number} has its target where its handle is; move one of them, or leave it out.")


def _read_both(text: str, targets: str) -> list[Pair]:
    handles, ends = _lone_points(text, "points"), _lone_points(targets, "targets")
    if len(handles) != len(ends):
        raise InputError(f"There are {len(handles)} handles and {len(ends)} targets; each handle needs one target.")
    return list(zip(handles, ends, strict=True))


def _read(text: str, what: str) -> tuple[list[Pair], Mapping]:
    text = (text or "").strip()
    if not text:
        raise InputError(f"The {what} are empty: expected {_FORMS}.")
    lines = _lines(text)
    if text[0] in "[{" and not (lines and _ARROW.fullmatch(lines[0])):
        document = _json(text, what)
        if isinstance(document, Mapping):
            return _from_object(document), document
        return _from_list(document), {}
    pairs = []
    for line in lines:
        match = _ARROW.fullmatch(line)
        if match is None:
            raise InputError(f"The points have a line {_short(line)} that cannot be read: expected {_FORMS}.")
        a, b, c, d = (float(number) for number in match.groups())
        pairs.append(((a, b), (c, d)))
    return pairs, {}


def _lone_points(text: str, what: str) -> list[tuple[float, float]]:
    """One point an entry: lines of "x,y", or a JSON list of points."""
    text = (text or "").strip()
    if not text:
        raise InputError(f"The {what} are empty: expected one 'x,y' per line, or JSON [[x, y], ...].")
    if text[0] in "[{" and not _LONE.fullmatch(text.splitlines()[0].strip()):
        document = _json(text, what)
        if isinstance(document, Mapping):
            document = _under(document, (*_FROM, *_TO, "coordinates")) if "x" not in document else [document]
        if not isinstance(document, list):
            raise InputError(f"The {what} hold no list of points: expected JSON [[x, y], ...].")
        return [_point(entry, what) for entry in document]
    points = []
    for line in _lines(text):
        match = _LONE.fullmatch(line)
        if match is None:
            raise InputError(f"The {what} have a line {_short(line)} that is no point: expected 'x,y'.")
        points.append((float(match[1]), float(match[2])))
    return points


def _from_object(document: Mapping) -> list[Pair]:
    handles, targets = _under(document, _FROM), _under(document, _TO)
    if handles is not None and targets is None:
        return _from_list(handles)
    if handles is None or targets is None:
        raise InputError(f"The points are a JSON object with {_keys(document)}; it needs 'handles' and 'targets'.")
    if _is_point(handles) and _is_point(targets):
        handles, targets = [handles], [targets]
    if not isinstance(handles, list) or not isinstance(targets, list):
        raise InputError("The 'handles' and 'targets' of the points must be lists of points.")
    if len(handles) != len(targets):
        raise InputError(f"There are {len(handles)} handles and {len(targets)} targets; each handle needs one target.")
    return [(_point(a, "handles"), _point(b, "targets")) for a, b in zip(handles, targets, strict=True)]


def _from_list(entries: object) -> list[Pair]:
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
        found = _from_object(entry)
        if len(found) == 1:
            return found[0]
    if isinstance(entry, list):
        if len(entry) == 4 and all(_is_number(number) for number in entry):
            return (float(entry[0]), float(entry[1])), (float(entry[2]), float(entry[3]))
        if len(entry) >= 2 and all(_is_point(point) for point in entry):
            return _point(entry[0], "points"), _point(entry[-1], "points")
    raise InputError(f"The points hold {_short(entry)}, which is no pair of handle and target: expected {_FORMS}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_point(entry: object) -> bool:
    if isinstance(entry, Mapping):
        return _is_number(entry.get("x")) and _is_number(entry.get("y"))
    return isinstance(entry, list) and len(entry) == 2 and all(_is_number(number) for number in entry)


def _point(entry: object, what: str) -> tuple[float, float]:
    if not _is_point(entry):
        raise InputError(f"The {what} hold {_short(entry)}, which is no point: expected [x, y] or {{'x': , 'y': }}.")
    x, y = (entry["x"], entry["y"]) if isinstance(entry, Mapping) else entry
    try:
        return float(x), float(y)
    except OverflowError:
        raise InputError(f"The {what} hold a number that is too large to be a place in a picture.") from None


def _under(document: Mapping, names: Sequence[str]) -> object:
    return next((document[name] for name in names if document.get(name) is not None), None)


def _json(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"The {what} look like JSON but cannot be read ({_short(problem)}).") from None


def _lines(text: str) -> list[str]:
    lines = (line.split("#")[0].strip().rstrip(",; ") for line in text.splitlines())
    return [line for line in lines if line]


def _said_units(value: object) -> str:
    if value in UNITS:
        return str(value)
    raise InputError(f"The points name the units {_short(value)}; expected one of {', '.join(UNITS)}.")


def _side(value: object, what: str) -> int:
    if _is_number(value) and 1 <= value <= 1_000_000:
        return int(value)
    raise InputError(f"The points name a {what} of {_short(value)}; expected the canvas' size in pixels.")


def _keys(document: Mapping) -> str:
    return ", ".join(repr(str(key)[:20]) for key in list(document)[:5]) or "nothing in it"


def _short(thing: object) -> str:
    text = str(thing).replace("\n", " ")
    return repr(text if len(text) <= 60 else text[:57] + "...")
