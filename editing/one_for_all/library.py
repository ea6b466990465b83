"""A library of directions: a strip per edit, a sheet of the strips, a table of which fit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from ...models.errors import InputError
from ...models.files.direction import DirectionSummary
from ...models.gan.generator import GanGenerator
from ...models.printable import printable
from ..common.figures import GREY, INK, LIGHT, PAPER, as_picture, as_tensor, font
from ..common.pictures import as_images, draw_states
from ..common.types import EditDirection
from .closed_form import apply_edit, constant_strength, plan_strength

__all__ = ["before_after_strip", "misfit_reason", "library_sheet", "library_table"]

_STRIP_HEIGHT = 160  # px of a thumbnail
_CELL, _CAPTION, _GAP = (260, 130), 40, 10


def before_after_strip(generator: GanGenerator, edit: EditDirection, codes: Tensor, amount: float = 1.0) -> Tensor:
    """Draw a picture before and after the edit, together in a strip [h, w, 3] in 0..1, at most 160 px high.

    Args:
        codes: [B, L, D]; the first one is drawn.
        amount: as a strength: of the example's state where the edit has one, else lengths of the direction.

    Raises:
        InputError: codes or an edit of another generator.
    """
    generator.check_latent(codes, "", "The code for the thumbnail")
    generator.check_latent(edit.direction[None], edit.family, f"The direction '{edit.name}'")
    code = codes[:1].to(generator.device)
    plan = plan_strength(edit, code, amount) if edit.has_example else constant_strength(edit, code, amount)
    images = draw_states(generator, torch.cat([code, apply_edit(code, edit, plan.alpha)]))
    height, width = images.shape[2:]
    if height > _STRIP_HEIGHT:
        size = (_STRIP_HEIGHT, max(1, round(width * _STRIP_HEIGHT / height)))
        images = F.interpolate(images, size=size, mode="area")
    return rearrange(as_images(images), "states h w c -> h (states w) c").cpu()


def misfit_reason(summary: DirectionSummary, generator: GanGenerator) -> str:
    """Say in a few words why the direction cannot be used with the generator; "" when it can."""
    rows, width = summary.shape
    if width != generator.w_dim or rows not in (1, generator.num_layers):
        return f"no: [{rows}, {width}] instead of [{generator.num_layers}, {generator.w_dim}]"
    if summary.layers and max(summary.layers) >= generator.num_layers:
        return f"no: acts on row {max(summary.layers)}"
    if summary.family and summary.family != generator.family:
        return "no: another family"
    return ""


def library_table(
    entries: Sequence[tuple[str, DirectionSummary | str]],  # file name, summary or why it cannot be read
    generator: GanGenerator | None = None,
) -> str:
    """Write one line per file: its name, rows, states and family, and its fit to the generator."""
    if not entries:
        return "There are no directions."
    lines = [f"{len(entries)} directions"]
    for file, summary in entries:
        if isinstance(summary, str):
            lines.append(f"{file}: cannot be used: {summary}")
            continue
        cells = [f"'{summary.name}'", _rows(summary), summary.method or "method unknown"]
        cells.append("with states" if summary.has_states else "constant only, or with a reference")
        cells.append(f"family {summary.family}" if summary.family else "family unknown (checked by shape)")
        cells += [text for text in (summary.date, summary.notes) if text]
        if generator is not None:
            cells.append(misfit_reason(summary, generator) or f"fits '{generator.name}'")
        lines.append(f"{file}: {'; '.join(' '.join(cell.split()) for cell in cells)}")
    return "\n".join(printable(line) for line in lines)  # a foreign file's name must not write on a terminal


def library_sheet(entries: Sequence[tuple[str, str, Tensor | None]], columns: int = 3) -> Tensor:
    """Lay out the directions on one sheet, [H, W, 3] in 0..1.

    Args:
        entries: title, subtitle and strip [h, w, 3] in 0..1 (or None) of each direction.

    Raises:
        InputError: no entries.
    """
    if not entries:
        raise InputError("There are no directions to show.")
    columns = min(columns, len(entries))
    rows = -(-len(entries) // columns)
    step_x, step_y = _CELL[0] + _GAP, _CELL[1] + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, (title, subtitle, strip) in enumerate(entries):
        x, y = _GAP + k % columns * step_x, _GAP + k // columns * step_y
        if strip is None:
            draw.rectangle([x, y, x + _CELL[0], y + _CELL[1]], outline=LIGHT)
            draw.text((x + _CELL[0] / 2, y + _CELL[1] / 2), "no thumbnail", fill=GREY, font=font(13), anchor="mm")
        else:
            picture = as_picture(strip)
            scale = min(_CELL[0] / picture.width, _CELL[1] / picture.height)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            sheet.paste(picture.resize(size, Image.Resampling.BICUBIC), (x, y + _CELL[1] - size[1]))
        draw.text((x, y + _CELL[1] + 6), _shorten(title, 34), fill=INK, font=font(14))
        draw.text((x, y + _CELL[1] + 23), _shorten(subtitle, 42), fill=GREY, font=font(12))
    return as_tensor(sheet)


def _rows(summary: DirectionSummary) -> str:
    if summary.layers is None:
        return "all rows"
    rows = summary.layers
    contiguous = rows == tuple(range(rows[0], rows[-1] + 1))
    return "rows " + (f"{rows[0]}-{rows[-1]}" if contiguous and len(rows) > 1 else ", ".join(map(str, rows)))


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
