"""Brush strokes written as numbers, drawn into a mask."""

from __future__ import annotations

import itertools
import math
import re

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ..common.progress import Progress, silent

_MAX_POINTS = 10_000  # of one stroke
_MAX_POINTS_IN_ALL = 50_000
_MAX_STROKES = 2_000
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")
_TILES = 16  # along the longer side of a mask
_CHUNK = 1 << 20  # distances that are computed at once


def brush_mask(strokes: str, radius: float, height: int, width: int, progress: Progress = silent) -> Tensor:
    """Draw strokes with a soft edge of one pixel.

    Args:
        strokes: one a line: points "x y" as shares of width and height, joined by straight lines. Commas, semicolons
            and blanks separate numbers alike. A line may begin with its own radius, "0.05: x y, x y"; one below zero
            erases what the lines above have drawn.
        radius: of lines without their own, a share of the height.
        height: of the mask, in pixels.
        width: of the mask, in pixels.
        progress: called while the strokes are drawn; may raise to stop.

    Returns:
        [1, height, width], 1 within the radius of a stroke.

    Raises:
        InputError: a line that is not pairs of numbers, no strokes at all, too many, or strokes outside of the picture.
    """
    lines = [line for line in strokes.splitlines() if line.strip()]
    if not lines:
        raise InputError("There are no strokes: write points x y as shares of the picture, such as 0.5 0.3.")
    if len(lines) > _MAX_STROKES:
        raise InputError(f"There are {len(lines)} strokes; at most {_MAX_STROKES} are possible.")
    parsed, count = [], 0
    for line in lines:
        parsed.append(_parse_line(line, radius))
        count += len(parsed[-1][1])
        if count > _MAX_POINTS_IN_ALL:
            raise InputError(f"The strokes have more than {_MAX_POINTS_IN_ALL} points together; draw with fewer.")
    mask = torch.zeros(height, width)
    # Strokes of one radius that follow each other are drawn together: where they overlap, one of them is enough.
    brushes = [(key, [points for _, points in group]) for key, group in itertools.groupby(parsed, lambda each: each[0])]
    for number, (line_radius, points) in enumerate(brushes):
        scale = torch.tensor([width, height])
        segments = torch.cat([_segments(each * scale) for each in points])
        _draw(mask, segments, line_radius, _share(progress, number, len(brushes)))
    if float(mask.max()) < 0.5:
        raise InputError("The strokes leave nothing inside of the picture; points are shares of it, from 0 to 1.")
    return mask[None]


def _share(progress: Progress, number: int, count: int) -> Progress:
    """Return the progress of one of several equal pieces of work."""
    return lambda step, total, preview=None: progress(number * total + step, count * total, preview)


def _segments(points: Tensor) -> Tensor:
    """Return the straight pieces of a line through points [N, 2], [N - 1, 2, 2]; of one point, itself twice."""
    return torch.stack([points[:-1], points[1:]], 1) if len(points) > 1 else points.expand(1, 2, 2)


def _draw(mask: Tensor, segments: Tensor, radius: float, progress: Progress) -> None:
    """Draw segments [N, 2, 2] (x, y in pixels) into a mask [height, width], in place; a radius below zero erases.

    The mask is worked on in tiles: only the segments near a tile are measured there, and no more once it is full.
    """
    height, width = mask.shape
    reach = abs(radius) * height + 0.5  # px
    side = max(32, math.ceil(max(height, width) / _TILES))
    tops = range(0, height, side)
    low, high = segments.amin((0, 1)) - reach, segments.amax((0, 1)) + reach
    for row, top in enumerate(tops):
        progress(row, len(tops))
        if top > float(high[1]) or top + side < float(low[1]):
            continue
        for left in range(0, width, side):
            if left > float(high[0]) or left + side < float(low[0]):
                continue
            tile = mask[top : top + side, left : left + side]
            rows = torch.arange(top, top + tile.shape[0]) + 0.5
            columns = torch.arange(left, left + tile.shape[1]) + 0.5
            drawn = (reach - _distance(segments, rows, columns, reach)).clamp(0, 1)
            tile.copy_(torch.maximum(tile, drawn) if radius > 0 else torch.minimum(tile, 1 - drawn))


def _distance(segments: Tensor, rows: Tensor, columns: Tensor, reach: float) -> Tensor:
    """Return the distance of each pixel from the nearest segment, as far as it is below ``reach``.

    Args:
        segments: [N, 2, 2], ends (x, y) in pixels.
        rows: y of the pixels, [h].
        columns: x of the pixels, [w].
        reach: px; at larger distances nothing is drawn, and below ``reach`` - 1 everything.

    Returns:
        [h, w]; infinity where no segment is near.
    """
    distance = torch.full((len(rows), len(columns)), float("inf"))
    middle_y, middle_x = rows.mean()[None], columns.mean()[None]
    half_diagonal = math.hypot(len(rows), len(columns)) / 2
    near = segments[_distances(segments, middle_y, middle_x)[:, 0, 0] <= reach + half_diagonal + 1]
    chunk_length = max(1, _CHUNK // distance.numel())
    for chunk in near.split(chunk_length) if len(near) else ():
        distance = torch.minimum(distance, _distances(chunk, rows, columns).amin(0))
        if float(distance.max()) <= reach - 1:
            break
    return distance


def _distances(segments: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the distance of each pixel (rows [h], columns [w]) from each segment [N, 2, 2]: [N, h, w]."""
    start, along = segments[:, 0, :, None, None], (segments[:, 1] - segments[:, 0])[..., None, None]
    x, y = columns[None, None], rows[None, :, None]
    share = (x - start[:, 0]) * along[:, 0] + (y - start[:, 1]) * along[:, 1]
    share = (share / along.square().sum(1).clamp(min=1e-9)).clamp(0, 1)
    nearest_x, nearest_y = start[:, 0] + share * along[:, 0], start[:, 1] + share * along[:, 1]
    return ((x - nearest_x).square() + (y - nearest_y).square()).sqrt()


def add_strokes(mask: Tensor | None, strokes: Tensor) -> Tensor:
    """Add brushed strokes to a mask.

    Args:
        mask: MASK [B, h, w] or [h, w] of any size, or None. One of another shape is left for its reader to refuse.
        strokes: [1, H, W].

    Returns:
        [B or 1, H, W].
    """
    if mask is None or 0 in mask.shape or mask.ndim not in (2, 3):
        return strokes if mask is None else mask
    mask = (mask[None] if mask.ndim == 2 else mask)[:, None].float()
    if mask.shape[2:] != strokes.shape[1:]:
        mask = F.interpolate(mask, strokes.shape[1:], mode="area")
    return torch.maximum(mask[:, 0], strokes.to(mask))


def _parse_line(line: str, radius: float) -> tuple[float, Tensor]:
    """Return a line's radius, its own or the common one, and its points [N, 2]."""
    head, _, path = line.partition(":")
    if not path or not _NUMBER.fullmatch(head.strip()):
        return radius, _points(line)
    own_radius = float(head)
    if not 0 < abs(own_radius) <= 2:
        raise InputError(
            f"The stroke {line.strip()[:60]!r} has a radius of {own_radius:g}; expected a share of the height."
        )
    return own_radius, _points(path)


def _points(line: str) -> Tensor:
    """Read pairs of numbers, [N, 2]."""
    words = [word for word in re.split(r"[\s,;]+", line.strip()) if word]
    try:
        numbers = torch.tensor([float(word) for word in words[: 2 * _MAX_POINTS + 2]])
    except ValueError:
        numbers = torch.tensor([float("nan")])
    count = len(numbers)
    if count == 0 or count % 2 or count > 2 * _MAX_POINTS or not bool(torch.isfinite(numbers).all()):
        raise InputError(
            f"The stroke {line.strip()[:60]!r} is not pairs of numbers; write points x y, such as 0.2 0.3, 0.8 0.3."
        )
    return rearrange(numbers, "(n xy) -> n xy", xy=2)
