"""Chart of measured portraits: a strip of marks for each factor, with its mean and spread."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw
from torch import Tensor

from ..editing.common.figures import AFTER, BEFORE, GREY, INK, LIGHT, PAPER, as_tensor, font
from .portraits.factors import FACTORS, LIVE_NAMES

_ROW, _TOP, _LEFT, _STRIP, _WIDTH = 34, 74, 150, 330, 760


def measurement_chart(
    values: Mapping[str, Tensor], before: Mapping[str, Tensor] | None = None, note: str = ""
) -> Tensor:
    """Draw a row for each factor: a bar from the smallest to the largest value, a mark for each, mean and deviation.

    Args:
        values: ``{factor: [B]}``, in the factors' ranges.
        before: the same of the pictures before an edit: grey marks, and a last column with the spread after / before.
        note: ends the title.

    Returns:
        ``[H, W, 3]`` in 0..1.
    """
    count = len(next(iter(values.values())))
    names = [name for name in LIVE_NAMES if name in values]
    picture = Image.new("RGB", (_WIDTH, _TOP + _ROW * len(names) + 24), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((20, 14), f"{count} portrait{'s' * (count != 1)}, measured{note}", fill=INK, font=font(18))
    headings = [(_LEFT + _STRIP + 66, "mean"), (_LEFT + _STRIP + 136, "std")]
    headings += [(_LEFT + _STRIP + 226, "spread")] if before is not None else []
    for x, text in headings:
        draw.text((x, _TOP - 14), text, fill=GREY, font=font(13), anchor="rm")
    for row, name in enumerate(names):
        _draw_row(draw, _TOP + _ROW * row, name, values[name], None if before is None else before[name])
    return as_tensor(picture)


def _draw_row(draw: ImageDraw.ImageDraw, top: int, name: str, values: Tensor, before: Tensor | None) -> None:
    factor = next(factor for factor in FACTORS if factor.name == name)
    middle = top + _ROW / 2

    def x_of(value: float) -> float:
        fraction = (value - factor.low) / (factor.high - factor.low)
        return _LEFT + _STRIP * min(1.03, max(-0.03, fraction))

    draw.text((20, middle), name.replace("_", " "), fill=INK, font=font(15), anchor="lm")
    draw.line([(_LEFT, middle), (_LEFT + _STRIP, middle)], fill=LIGHT, width=2)
    if factor.low < 0:
        draw.line([(x_of(0), middle - 9), (x_of(0), middle + 9)], fill=LIGHT, width=2)
    if before is not None:
        _draw_marks(draw, [x_of(value) for value in before.tolist()], middle + 6, BEFORE)
    xs = [x_of(value) for value in values.tolist()]
    draw.rounded_rectangle([min(xs) - 2, middle - 8, max(xs) + 2, middle + 1], 4, fill=(205, 218, 246))
    _draw_marks(draw, xs, middle - 4, AFTER)
    mean, spread = float(values.mean()), float(values.std(correction=0))
    columns = [(_LEFT + _STRIP + 66, f"{mean:+.2f}"), (_LEFT + _STRIP + 136, f"{spread:.2f}")]
    if before is not None:
        spread_before = float(before.std(correction=0))
        columns.append((_LEFT + _STRIP + 226, f"x {spread / spread_before:.2f}" if spread_before > 1e-6 else "-"))
    for x, text in columns:
        draw.text((x, middle), text, fill=INK, font=font(14), anchor="rm")


def _draw_marks(draw: ImageDraw.ImageDraw, xs: list[float], y: float, colour: tuple[int, int, int]) -> None:
    for x in xs:
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=colour)
