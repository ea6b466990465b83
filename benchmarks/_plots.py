"""Plots of the suite, drawn with Pillow: bars of ratios, and curves over sizes with both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from semantic_edit.editing.common.figures import AFTER, BEFORE, GREY, INK, LIGHT, PAPER, TARGET, font

_COLOURS = (AFTER, TARGET, (70, 160, 96), (226, 160, 60), (140, 96, 190), BEFORE)


def bars(title: str, rows: Sequence[tuple[str, float, float | None]], path: Path) -> Path:
    """One bar a row: (label, times faster than its reference, fraction of the floor or None)."""
    height, width, left = 70 + 22 * len(rows), 1000, 430
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((16, 12), title, fill=INK, font=font(18))
    most = max([2.0, *(ratio for _, ratio, _ in rows)])
    least = min([0.5, *(ratio for _, ratio, _ in rows if ratio > 0)])

    def x_of(ratio: float) -> float:
        share = math.log(max(ratio, least) / least) / math.log(most / least)
        return left + share * (width - left - 110)

    tick = 2.0 ** math.ceil(math.log2(least))
    while tick <= most:
        draw.line([(x_of(tick), 44), (x_of(tick), height - 12)], fill=GREY if tick == 1 else LIGHT)
        draw.text((x_of(tick), 40), f"{tick:g}x", fill=GREY, font=font(11), anchor="mm")
        tick *= 2
    for k, (label, ratio, fraction) in enumerate(rows):
        y = 56 + 22 * k
        draw.text((left - 10, y + 8), label, fill=INK, font=font(12), anchor="rm")
        ends = sorted((x_of(1.0), x_of(ratio)))
        draw.rectangle([ends[0], y, max(ends[1], ends[0] + 1), y + 15], fill=AFTER if ratio >= 1 else TARGET)
        note = f"{ratio:.2f}" + ("" if fraction is None else f"   {fraction:.0%}")
        draw.text((ends[1] + 6, y + 8), note, fill=GREY, font=font(12), anchor="lm")
    picture.save(path)
    return path


def curves(
    title: str,
    panels: Sequence[tuple[str, str, dict[str, list[tuple[float, float]]]]],  # (x axis, y axis, name -> points)
    path: Path,
) -> Path:
    """Panels side by side, both axes logarithmic, so that proportional growth is a line at 45 degrees."""
    side, gap = 380, 70
    picture = Image.new("RGB", (gap + len(panels) * (side + gap), side + 160), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((16, 12), title, fill=INK, font=font(18))
    for k, (x_axis, y_axis, lines) in enumerate(panels):
        _panel(draw, gap + k * (side + gap), 70, side, x_axis, y_axis, lines)
    picture.save(path)
    return path


def _panel(draw: ImageDraw.ImageDraw, left: float, top: float, side: float, x_axis: str, y_axis: str, lines) -> None:
    points = [point for line in lines.values() for point in line if min(point) > 0]
    if not points:
        return
    # The same number of octaves along both axes keeps 45 degrees what they are.
    low = [math.floor(math.log2(min(point[axis] for point in points))) for axis in (0, 1)]
    high = [math.ceil(math.log2(max(point[axis] for point in points))) for axis in (0, 1)]
    octaves = max(1, high[0] - low[0], high[1] - low[1])

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (math.log2(x) - low[0]) / octaves, (math.log2(y) - low[1]) / octaves
        return left + across * side, top + side - up * side

    draw.rectangle([left, top, left + side, top + side], outline=LIGHT)
    step = math.ceil(octaves / 5)
    for octave in range(0, octaves + 1, step):
        x, y = 2.0 ** (low[0] + octave), 2.0 ** (low[1] + octave)
        draw.line([at(x, 2.0 ** low[1]), at(x, 2.0 ** (low[1] + octaves))], fill=LIGHT)
        draw.line([at(2.0 ** low[0], y), at(2.0 ** (low[0] + octaves), y)], fill=LIGHT)
        draw.text((at(x, 1)[0], top + side + 10), _short(x), fill=GREY, font=font(11), anchor="mm")
        draw.text((left - 6, at(1, y)[1]), _short(y), fill=GREY, font=font(11), anchor="rm")
    draw.text((left, top - 18), y_axis, fill=INK, font=font(13))
    draw.text((left + side, top + side + 28), x_axis, fill=INK, font=font(13), anchor="rm")
    for k, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[k % len(_COLOURS)]
        places = [at(*point) for point in line if min(point) > 0]
        if len(places) > 1:
            draw.line(places, fill=colour, width=2)
        for x, y in places:
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
        draw.text((left, top + side + 28 + 17 * k), name, fill=colour, font=font(12))


def _short(value: float) -> str:
    """A number of few letters: 0.25, 16, 16k, 1M."""
    for size, letter in ((2**20, "M"), (2**10, "k")):
        if value >= 4 * size or value == size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
