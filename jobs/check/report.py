"""The report of a check-up: sections of lines, sheets of pictures, warnings; as text and as one page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from ...editing.common.figures import GREY, INK, PAPER, TARGET, as_picture, as_tensor, font

__all__ = ["CheckReport", "Section", "Sheet", "tiles"]

_WIDTH, _MARGIN, _LETTERS = 1240, 32, 78  # px of the page; letters of a line in one of its two columns
_LINE = 22  # px
_TILE = 192  # px, the longest side of a picture on a sheet


@dataclass(frozen=True)
class Section:
    """Lines of facts below a heading."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pictures below a heading.

    Args:
        title: what they are.
        image: [H, W, 3] in 0..1.
        has_photos: they show what the owner gave, not what the model draws alone.
    """

    title: str
    image: Tensor
    has_photos: bool = False


@dataclass(eq=False)
class CheckReport:
    """What a check-up found. It names no file, no folder and no person.

    Args:
        title: of the page.
        sections: facts.
        sheets: pictures.
        warnings: sentences, where a default will not suit.
    """

    title: str
    sections: list[Section] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, title: str, lines: Iterable[str]) -> None:
        """Add a section, unless it would be empty."""
        lines = tuple(line for line in lines if line)
        if lines:
            self.sections.append(Section(title, lines))

    def text(self) -> str:
        """Return all that is known, in lines."""
        lines = [self.title]
        for section in self.sections:
            lines += ["", section.title, *(f"  {line}" for line in section.lines)]
        return "\n".join([*lines, "", "Warnings", *(f"  {line}" for line in self.warnings or [_ALL_WELL])])

    def page(self, with_photos: bool = True) -> Tensor:
        """Draw the page: warnings, facts in two columns, sheets; [H, W, 3] in 0..1.

        Args:
            with_photos: False leaves the sheets out that show the owner's photos, for a page to share.
        """
        blocks = [_heading(self.title), _warnings(self.warnings), _columns(self.sections)]
        blocks += [_sheet(sheet) for sheet in self.sheets if with_photos or not sheet.has_photos]
        height = sum(block.height for block in blocks) + _MARGIN
        page = Image.new("RGB", (_WIDTH, height), PAPER)
        y = 0
        for block in blocks:
            page.paste(block, (0, y))
            y += block.height
        return as_tensor(page)


_ALL_WELL = "none: the defaults suit it as far as this check can see"


def tiles(images: Tensor) -> list[Tensor]:
    """Shrink pictures [B, H, W, 3] in 0..1 for a sheet: [h, w, 3] each."""
    scale = _TILE / max(images.shape[1:3])
    size = tuple(max(1, round(side * scale)) for side in images.shape[1:3])
    pictures = [as_picture(image).resize(size[::-1], Image.Resampling.LANCZOS) for image in images]
    return [as_tensor(picture) for picture in pictures]


def _heading(title: str) -> Image.Image:
    block = Image.new("RGB", (_WIDTH, 64), PAPER)
    ImageDraw.Draw(block).text((_MARGIN, 22), title, fill=INK, font=font(24))
    return block


def _warnings(warnings: list[str]) -> Image.Image:
    lines = [line for warning in warnings or [_ALL_WELL] for line in textwrap.wrap(warning, 2 * _LETTERS - 8)]
    block = Image.new("RGB", (_WIDTH, 40 + _LINE * len(lines)), PAPER)
    draw = ImageDraw.Draw(block)
    draw.text((_MARGIN, 8), "Warnings", fill=TARGET if warnings else INK, font=font(17))
    for k, line in enumerate(lines):
        draw.text((_MARGIN, 32 + k * _LINE), line, fill=INK, font=font(14))
    return block


def _columns(sections: list[Section]) -> Image.Image:
    """Lay sections out in two columns of about equal length."""
    wrapped = [
        (section.title, [part for line in section.lines for part in textwrap.wrap(line, _LETTERS)])
        for section in sections
    ]
    heights = [44 + _LINE * len(lines) for _, lines in wrapped]
    columns, tall = ([], []), [0, 0]
    for entry, height in zip(wrapped, heights, strict=True):
        column = 0 if tall[0] + height <= max(sum(heights) / 2, heights[0]) and not columns[1] else 1
        columns[column].append((entry, tall[column]))
        tall[column] += height
    block = Image.new("RGB", (_WIDTH, max(tall) + 8), PAPER)
    draw = ImageDraw.Draw(block)
    for column, entries in enumerate(columns):
        x = _MARGIN + column * (_WIDTH - _MARGIN) // 2
        for (title, lines), y in entries:
            draw.text((x, y + 14), title, fill=INK, font=font(17))
            for k, line in enumerate(lines):
                draw.text((x, y + 40 + k * _LINE), line, fill=GREY if k > 40 else INK, font=font(14))
    return block


def _sheet(sheet: Sheet) -> Image.Image:
    picture = as_picture(sheet.image)
    available = _WIDTH - 2 * _MARGIN
    if picture.width > available:
        picture = picture.resize((available, round(picture.height * available / picture.width)))
    block = Image.new("RGB", (_WIDTH, picture.height + 44), PAPER)
    ImageDraw.Draw(block).text((_MARGIN, 14), sheet.title, fill=INK, font=font(17))
    block.paste(picture, (_MARGIN, 40))
    return block


def channels_last(images: Tensor) -> Tensor:
    """[B, 3, H, W] in -1..1 -> [B, H, W, 3] in 0..1."""
    return rearrange(images.float().cpu(), "b c h w -> b h w c").mul(0.5).add(0.5).clamp(0, 1)
