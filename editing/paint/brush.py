"""A mask from brush strokes that are written as numbers."""

from __future__ import annotations

import re

import torch
from torch import Tensor
from torch.nn import functional

from ...models.errors import InputError

_MOST_POINTS = 10_000
_OWN_RADIUS = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*:(.*)", re.DOTALL)


def brush_mask(strokes: str, radius: float, height: int, width: int) -> Tensor:
    """[1, height, width], 1 within ``radius`` (a share of the height) of the strokes, with a soft edge of one pixel.

    Each line of ``strokes`` is one: points "x y" as shares of width and height, joined by straight lines. Commas,
    semicolons and blanks separate numbers alike. A line may begin with its own radius, "0.05: x y, x y"; one below zero
    erases what the lines above have drawn.

    Raises InputError for a line that is not pairs of numbers, no strokes at all, and strokes outside of the picture.
    """
    lines = [line for line in strokes.splitlines() if line.strip()]
    if not lines:
        raise InputError("There are no strokes: write points x y as shares of the picture, such as 0.5 0.3.")
    rows = (torch.arange(height) + 0.5)[:, None]
    columns = (torch.arange(width) + 0.5)[None]
    mask = torch.zeros(height, width)
    for line in lines:
        own, line = _own_radius(line, radius)
        nearest = torch.full((height, width), float("inf"))
        points = _points(line) * torch.tensor([width, height])
        ends = points[1:] if len(points) > 1 else points
        for start, end in zip(points[: len(ends)], ends, strict=True):
            along = end - start
            length = float(along.square().sum())
            share = ((columns - start[0]) * along[0] + (rows - start[1]) * along[1]) / max(length, 1e-9)
            share = share.clamp(0, 1)
            x, y = start[0] + share * along[0], start[1] + share * along[1]
            nearest = torch.minimum(nearest, ((columns - x).square() + (rows - y).square()).sqrt())
        drawn = (abs(own) * height - nearest + 0.5).clamp(0, 1)
        mask = torch.maximum(mask, drawn) if own > 0 else torch.minimum(mask, 1 - drawn)
    if float(mask.max()) < 0.5:
        raise InputError("The strokes leave nothing inside of the picture; points are shares of it, from 0 to 1.")
    return mask[None]


def add_strokes(mask: Tensor | None, strokes: Tensor) -> Tensor:
    """A MASK [B, h, w] or [h, w] of any size, or None, with brushed strokes [1, H, W] added: [B or 1, H, W]."""
    if mask is None or 0 in mask.shape or mask.ndim not in (2, 3):
        return strokes if mask is None else mask
    mask = (mask[None] if mask.ndim == 2 else mask)[:, None].float()
    if mask.shape[2:] != strokes.shape[1:]:
        mask = functional.interpolate(mask, strokes.shape[1:], mode="area")
    return torch.maximum(mask[:, 0], strokes.to(mask))


def _own_radius(line: str, radius: float) -> tuple[float, str]:
    found = _OWN_RADIUS.fullmatch(line)
    if found is None:
        return radius, line
    own = float(found[1])
    if not 0 < abs(own) <= 2:
        raise InputError(f"The stroke {line.strip()[:60]!r} has a radius of {own:g}; expected a share of the height.")
    return own, found[2]


def _points(line: str) -> Tensor:
    words = [word for word in re.split(r"[\s,;]+", line.strip()) if word]
    try:
        numbers = torch.tensor([float(word) for word in words])
    except ValueError:
        numbers = torch.tensor([float("nan")])
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_POINTS or not bool(torch.isfinite(numbers).all()):
        raise InputError(
            f"The stroke {line.strip()[:60]!r} is not pairs of numbers; write points x y, such as 0.2 0.3, 0.8 0.3."
        )
    return numbers.view(-1, 2)
