"""Figures of states: what each picture shows, and how each answers to the strength."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from ..common.figures import AFTER, BEFORE, GREY, INK, LIGHT, PAPER, TARGET, Axes, as_tensor, font, polyline
from .drawings import StateDrawings

__all__ = ["readings_plot", "strengths_plot"]

_WIDTH, _HEIGHT = 760, 420


def readings_plot(
    readings: Sequence[float],  # B, NaN where nothing was read
    title: str,
    axis: str,  # the reading's name and unit
    target: float | None = None,
    noise: float = 0.0,  # standard deviation of the reader, or what counts as there
    before: Sequence[float] = (),  # B of the same pictures before an edit
    landed: Sequence[bool] = (),  # B flags: hollow dots for those that are not at the target
) -> Tensor:
    """Plot a dot for each picture in the order of the batch, a band round the target.

    Returns:
        [H, W, 3] in 0..1.
    """
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), PAPER)
    draw = ImageDraw.Draw(picture)
    values = _finite([*readings, *before, *([] if target is None else [target - noise, target + noise])])
    axes = Axes(72, _WIDTH - 24, 62, _HEIGHT - 50, 0.5, len(readings) + 0.5, min(values), max(values))
    draw.text((axes.left, 12), title, fill=INK, font=font(17))
    draw.text((axes.left, 38), axis, fill=GREY, font=font(12))
    _draw_levels(draw, axes)
    if target is not None:
        _draw_target(draw, axes, target, noise)
    radius = max(2.0, min(6.0, (axes.right - axes.left) / len(readings) / 4))
    for k, reading in enumerate(readings):
        x = axes.at(k + 1, axes.low)[0]
        if len(readings) <= 24:
            draw.text((x, axes.bottom + 12), str(k + 1), fill=GREY, font=font(11), anchor="mm")
        if before and math.isfinite(before[k]) and math.isfinite(reading):
            draw.line([axes.at(k + 1, before[k]), axes.at(k + 1, reading)], fill=LIGHT, width=2)
        if before and math.isfinite(before[k]):
            _dot(draw, axes.at(k + 1, before[k]), radius, BEFORE)
        if math.isfinite(reading):
            _dot(draw, axes.at(k + 1, reading), radius, AFTER, hollow=bool(landed) and not landed[k])
        else:
            draw.text((x, axes.bottom - 8), "?", fill=TARGET, font=font(15), anchor="mm")
    label = "picture" + ("; grey: before" if before else "") + ("" if target is None else "; red: the state to reach")
    label += "" if not landed or all(landed) else "; hollow: not there"
    draw.text(((axes.left + axes.right) / 2, axes.bottom + 32), label, fill=GREY, font=font(12), anchor="mm")
    return as_tensor(picture)


def strengths_plot(
    drawings: StateDrawings,
    strengths: Sequence[float],  # B, the planned ones
    expected: Sequence[float],  # B readings that are expected there
    reachable: Sequence[bool],  # B
    targets: Sequence[float],  # B
    title: str,
    axis: str,  # the reading's name and unit
) -> Tensor:
    """Plot what was read of each picture over the strength, and where each is expected to arrive; hollow: short of it.

    Returns:
        [H, W, 3] in 0..1.
    """
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), PAPER)
    draw = ImageDraw.Draw(picture)
    values = _finite([*drawings.readings.flatten().tolist(), *expected, *targets])
    places = [*drawings.strengths.flatten().tolist(), *strengths]
    axes = Axes(72, _WIDTH - 24, 62, _HEIGHT - 50, min(places), max(places), min(values), max(values))
    draw.text((axes.left, 12), title, fill=INK, font=font(17))
    draw.text((axes.left, 38), axis, fill=GREY, font=font(12))
    axes.draw(draw, "strength; red: the state to reach; hollow: short of it")
    for row, column in zip(drawings.readings.tolist(), drawings.strengths.tolist(), strict=True):
        points = [axes.at(s, r) for s, r in sorted(zip(column, row, strict=True)) if math.isfinite(r)]
        if points:
            polyline(draw, points, BEFORE, 2)
        for point in points:
            _dot(draw, point, 2.5, BEFORE)
    if max(targets) - min(targets) < 1e-9 and math.isfinite(targets[0]):
        _draw_target(draw, axes, targets[0], 0.0)
    for strength, reading, reached in zip(strengths, expected, reachable, strict=True):
        if math.isfinite(strength) and math.isfinite(reading):
            x, y = axes.at(strength, reading)
            draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=AFTER if reached else PAPER, outline=AFTER, width=2)
    return as_tensor(picture)


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)] or [0.0]


def _draw_levels(draw: ImageDraw.ImageDraw, axes: Axes) -> None:
    """Draw horizontal lines with their numbers."""
    for k in range(5):
        value = axes.low + (axes.high - axes.low) * k / 4
        y = axes.at(axes.x_low, value)[1]
        draw.line([(axes.left, y), (axes.right, y)], fill=LIGHT)
        draw.text((axes.left - 8, y), f"{value:.3g}", fill=GREY, font=font(11), anchor="rm")


def _draw_target(draw: ImageDraw.ImageDraw, axes: Axes, target: float, noise: float) -> None:
    """Draw the state to reach, and the band in which the reader cannot tell pictures apart."""
    if noise > 0:
        top, bottom = axes.at(axes.x_low, target + noise)[1], axes.at(axes.x_low, target - noise)[1]
        draw.rectangle([axes.left, top, axes.right, bottom], fill=(252, 236, 233))
    draw.line([axes.at(axes.x_low, target), axes.at(axes.x_high, target)], fill=TARGET, width=2)


def _dot(
    draw: ImageDraw.ImageDraw,
    point: tuple[float, float],
    radius: float,
    colour: tuple[int, int, int],
    hollow: bool = False,
) -> None:
    x, y = point
    box = [x - radius, y - radius, x + radius, y + radius]
    draw.ellipse(box, fill=PAPER if hollow else colour, outline=colour, width=2)
