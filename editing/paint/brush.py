"""Brush strokes written as numbers, drawn into a mask."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError

_MAX_POINTS = 10_000
_OWN_RADIUS = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*:(.*)", re.DOTALL)


def brush_mask(strokes: str, radius: float, height: int, width: int) -> Tensor:
    """Draw strokes with a soft edge of one pixel.

    Args:
        strokes: one a line: points "x y" as shares of width and height, joined by straight lines. Commas, semicolons
            and blanks separate numbers alike. A line may begin with its own radius, "0.05: x y, x y"; one below zero
            erases what the lines above have drawn.
        radius: of lines without their own, a share of the height.
        height: of the mask, in pixels.
        width: of the mask, in pixels.

    Returns:
        [1, height, width], 1 within the radius of a stroke.

    Raises:
        InputError: a line that is not pairs of numbers, no strokes at all, or strokes outside of the picture.
    """
    lines = [line for line in strokes.splitlines() if line.strip()]
    if not lines:
        raise InputError("There are no strokes: write points x y as shares of the picture, such as 0.5 0.3.")
    mask = torch.zeros(height, width)
    for line in lines:
        line_radius, points = _parse_line(line, radius)
        distance = _distance_to_line(points * torch.tensor([width, height]), height, width)
        drawn = (abs(line_radius) * height - distance + 0.5).clamp(0, 1)
        mask = torch.maximum(mask, drawn) if line_radius > 0 else torch.minimum(mask, 1 - drawn)
    if float(mask.max()) < 0.5:
        raise InputError("The strokes leave nothing inside of the picture; points are shares of it, from 0 to 1.")
    return mask[None]


def _distance_to_line(points: Tensor, height: int, width: int) -> Tensor:
    """Return each pixel's distance from a line through points [N, 2] (x, y in pixels): [height, width]."""
    rows = (torch.arange(height) + 0.5)[:, None]
    columns = (torch.arange(width) + 0.5)[None]
    distance = torch.full((height, width), float("inf"))
    ends = points[1:] if len(points) > 1 else points
    for start, end in zip(points[: len(ends)], ends, strict=True):
        along = end - start
        length = float(along.square().sum())
        share = ((columns - start[0]) * along[0] + (rows - start[1]) * along[1]) / max(length, 1e-9)
        share = share.clamp(0, 1)
        x, y = start[0] + share * along[0], start[1] + share * along[1]
        distance = torch.minimum(distance, ((columns - x).square() + (rows - y).square()).sqrt())
    return distance


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
    match = _OWN_RADIUS.fullmatch(line)
    if match is None:
        return radius, _points(line)
    own_radius = float(match[1])
    if not 0 < abs(own_radius) <= 2:
        raise InputError(
            f"The stroke {line.strip()[:60]!r} has a radius of {own_radius:g}; expected a share of the height."
        )
    return own_radius, _points(match[2])


def _points(line: str) -> Tensor:
    """Read pairs of numbers, [N, 2]."""
    words = [word for word in re.split(r"[\s,;]+", line.strip()) if word]
    try:
        numbers = torch.tensor([float(word) for word in words])
    except ValueError:
        numbers = torch.tensor([float("nan")])
    if len(numbers) % 2 or len(numbers) > 2 * _MAX_POINTS or not bool(torch.isfinite(numbers).all()):
        raise InputError(
            f"The stroke {line.strip()[:60]!r} is not pairs of numbers; write points x y, such as 0.2 0.3, 0.8 0.3."
        )
    return rearrange(numbers, "(n xy) -> n xy", xy=2)
