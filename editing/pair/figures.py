"""Figures of pair edits: the strength of each block of the network."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw
from torch import Tensor

from ...models.printable import printable
from ..common.figures import AFTER, GREY, INK, LIGHT, PAPER, TARGET, as_tensor, font, steady_pixel

__all__ = ["block_chart"]

_WIDTH, _BAR, _GAP, _TOP, _BOTTOM = 760, 14, 4, 62, 18


def block_chart(strengths: Mapping[str, float], title: str, notes: str = "") -> Tensor:
    """Draw a bar for the strength of each block, negative ones in red: [H, W, 3] in 0..1."""
    names = [printable(block)[:48] for block in strengths]
    left = 24 + max((int(font(12).getlength(name)) for name in names), default=0)
    right, height = _WIDTH - 70, _TOP + len(names) * (_BAR + _GAP) + _BOTTOM
    picture = Image.new("RGB", (_WIDTH, height), PAPER)
    draw = ImageDraw.Draw(picture)
    low, high = min(0.0, *strengths.values()), max(1.0, *strengths.values())

    def x_of(value: float) -> float:
        return steady_pixel(left + (value - low) / (high - low) * (right - left))

    draw.text((16, 12), title, fill=INK, font=font(17))
    draw.text((16, 36), notes, fill=GREY, font=font(12))
    for k in range(5):
        x = x_of(low + (high - low) * k / 4)
        draw.line([(x, _TOP - 4), (x, height - _BOTTOM)], fill=LIGHT)
    for k, (name, strength) in enumerate(zip(names, strengths.values(), strict=True)):
        top = _TOP + k * (_BAR + _GAP)
        draw.text((left - 8, top + _BAR / 2), name, fill=INK, font=font(12), anchor="rm")
        ends = sorted((x_of(0.0), x_of(strength)))
        draw.rectangle([ends[0], top, max(ends[1], ends[0] + 1), top + _BAR], fill=AFTER if strength >= 0 else TARGET)
        draw.text((right + 8, top + _BAR / 2), f"{strength:.2f}", fill=GREY, font=font(12), anchor="lm")
    return as_tensor(picture)
