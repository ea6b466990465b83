"""Plots and contact sheets, drawn with Pillow: no plotting library is needed to see a result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

INK, GREY, LIGHT = (38, 42, 51), (132, 138, 150), (226, 229, 235)
BEFORE, AFTER, TARGET = (176, 184, 199), (64, 110, 220), (219, 84, 70)
PAPER = (255, 255, 255)


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return Pillow's own font at ``size`` pixels (a small bitmap one where Pillow was built without FreeType)."""
    try:
        return ImageFont.load_default(size)
    except (TypeError, OSError, ImportError):
        return ImageFont.load_default()


def as_tensor(picture: Image.Image) -> Tensor:
    """Convert a Pillow picture to [H, W, 3] in 0..1."""
    return torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32) / 255.0)


def as_picture(image: Tensor) -> Image.Image:
    """Convert [H, W, 3] in 0..1 to a Pillow picture."""
    return Image.fromarray(image.detach().cpu().mul(255).round().clamp(0, 255).to(torch.uint8).numpy())


def before_after_plot(
    before: Sequence[float],  # one value per picture
    after: Sequence[float],
    target: float | None,  # drawn as a line
    title: str,
    axis: str,  # its name
    size: tuple[int, int] = (760, 460),  # width, height
) -> Tensor:
    """Plot two dots and a line for every picture, sorted by its value before, and the target: [H, W, 3] in 0..1."""
    width, height = size
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    left, right, top, bottom = 64, width - 24, 62, height - 56
    values = [*before, *after, *([] if target is None else [target])]
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 1.0
    low, high = low - margin, high + margin

    def y_of(value: float) -> float:
        return steady_pixel(bottom - (value - low) / (high - low) * (bottom - top))

    draw.text((left, 14), title, fill=INK, font=font(18))
    for tick in _ticks(low, high):
        draw.line([(left, y_of(tick)), (right, y_of(tick))], fill=LIGHT)
        draw.text((left - 8, y_of(tick)), f"{tick:g}", fill=GREY, font=font(12), anchor="rm")
    draw.text((left, 40), axis, fill=GREY, font=font(12))
    if target is not None:
        draw.line([(left, y_of(target)), (right, y_of(target))], fill=TARGET, width=2)
    order = sorted(range(len(before)), key=lambda k: before[k])
    step = (right - left) / max(len(order), 1)
    radius = max(2.0, min(5.0, step / 3))
    for column, k in enumerate(order):
        x = left + (column + 0.5) * step
        draw.line([(x, y_of(before[k])), (x, y_of(after[k]))], fill=LIGHT, width=2)
        for value, colour in ((before[k], BEFORE), (after[k], AFTER)):
            y = y_of(value)
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    _legend(draw, left, height - 34, target is not None)
    return as_tensor(picture)


def steady_pixel(place: float) -> float:
    """Round a coordinate, which Pillow would cut off: without this, a grid line moves by a pixel with a last bit."""
    return round(place, 3)


class Axes:
    """The axes of a plot: from values to pixels."""

    def __init__(self, left, right, top, bottom, x_low, x_high, low, high) -> None:
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.x_low, self.x_high = x_low, x_high if x_high > x_low else x_low + 1
        margin = 0.06 * (high - low) or 0.05
        self.low, self.high = low - margin, high + margin

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a value."""
        right = (x - self.x_low) / (self.x_high - self.x_low)
        up = (y - self.low) / (self.high - self.low)
        across, down = right * (self.right - self.left), up * (self.bottom - self.top)
        return steady_pixel(self.left + across), steady_pixel(self.bottom - down)

    def draw(self, draw: ImageDraw.ImageDraw, name: str) -> None:
        """Draw lines and numbers; ``name`` is that of the horizontal axis."""
        for k in range(6):
            value = self.x_low + (self.x_high - self.x_low) * k / 5
            x = self.at(value, self.low)[0]
            draw.line([(x, self.top), (x, self.bottom)], fill=LIGHT)
            draw.text((x, self.bottom + 12), f"{value:.2f}", fill=GREY, font=font(11), anchor="mm")
        for k in range(5):
            value = self.low + (self.high - self.low) * k / 4
            y = self.at(self.x_low, value)[1]
            draw.line([(self.left, y), (self.right, y)], fill=LIGHT)
            draw.text((self.left - 8, y), f"{value:.2f}", fill=GREY, font=font(11), anchor="rm")
        draw.text(((self.left + self.right) / 2, self.bottom + 32), name, fill=GREY, font=font(12), anchor="mm")


def polyline(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour, width: int) -> None:
    """Draw a line through points, a dot where there is one."""
    draw.line(points * (2 if len(points) == 1 else 1), fill=colour, width=width)


def contact_sheet(
    rows: Sequence[Sequence[Tensor]],  # pictures [H, W, 3] in 0..1, all of one size
    labels: Sequence[str] = (),  # one a row, written at its left
    scale: int = 1,  # whole pixels of the sheet per pixel of a picture
    gap: int = 4,
) -> Tensor:
    """Lay out rows of pictures on white, enlarged by repeating pixels: [H, W, 3] in 0..1."""
    height, width = rows[0][0].shape[:2]
    height, width = height * scale, width * scale
    margin = max((int(font(14).getlength(label)) for label in labels), default=0) + (16 if labels else 0)
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (margin + columns * (width + gap) + gap, len(rows) * (height + gap) + gap), PAPER)
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        y = gap + r * (height + gap)
        if r < len(labels):
            draw.text((8, y + height / 2), labels[r], fill=INK, font=font(14), anchor="lm")
        for c, image in enumerate(row):
            tile = as_picture(image).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(tile, (margin + gap + c * (width + gap), y))
    return as_tensor(sheet)


def _ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers between ``low`` and ``high``."""
    rough = (high - low) / 5
    power = 10 ** np.floor(np.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    first = int(np.ceil(low / step))
    return [round(float(k * step), 10) for k in range(first, int(np.floor(high / step)) + 1)]


def _legend(draw: ImageDraw.ImageDraw, x: float, y: float, with_target: bool) -> None:
    entries = [("before", BEFORE), ("after", AFTER)] + ([("the example's state", TARGET)] if with_target else [])
    for text, colour in entries:
        draw.ellipse([x, y, x + 10, y + 10], fill=colour)
        draw.text((x + 16, y + 5), text, fill=INK, font=font(13), anchor="lm")
        x += 40 + font(13).getlength(text)
