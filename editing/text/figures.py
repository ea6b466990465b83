"""Charts of a text edit: parts against rows of W+, masks of each row, losses against steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from ..common.figures import GREY, INK, PAPER, as_picture, as_tensor, font
from ..common.part_labels import PartLabels
from .edit import TextEdit

__all__ = ["loss_chart", "part_colours", "region_layer_chart", "row_mask_sheet"]

_CELL = 46
_LINES = ((38, 42, 51), (64, 110, 220), (219, 84, 70), (46, 140, 88), (150, 96, 190), (214, 140, 30))
_HOT = ((247, 249, 252), (64, 110, 220), (22, 34, 84))  # 0, 0.5, 1


def region_layer_chart(edit: TextEdit, weights: Tensor | None = None) -> Tensor:
    """Draw parts down and rows of W+ across, how far each takes part as colour and number.

    Args:
        weights: [1, L], for edits without parts, the mean of each row's mask.

    Returns:
        [H, W, 3] in 0..1.
    """
    selection, threshold = edit.selection, edit.threshold
    if selection is None:
        selection, threshold = weights, 0.0  # a mask that is there has passed the threshold, however small it is
    names = edit.parts or ("mean of the mask",)
    if selection is None:
        selection = torch.zeros(1, len(edit.offset))
        selection[:, list(edit.rows)] = 1
        names = ("everywhere",)
    left, top = 24 + max(len(name) for name in names) * 8, 70
    width, height = left + _CELL * selection.shape[1] + 20, top + 30 * len(names) + 30
    picture = Image.new("RGB", (max(width, 360), height), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((16, 12), edit.prompt, fill=INK, font=font(17))
    draw.text((16, 38), "row of W+: coarse shapes on the left, colours on the right", fill=GREY, font=font(12))
    for row in range(selection.shape[1]):
        draw.text((left + (row + 0.5) * _CELL, top - 8), str(row), fill=GREY, font=font(12), anchor="mm")
    for k, name in enumerate(names):
        y = top + 4 + 30 * k
        draw.text((left - 10, y + 13), name, fill=INK, font=font(13), anchor="rm")
        for row, value in enumerate(selection[k].tolist()):
            weight = value if value > threshold and row in edit.rows else 0.0
            box = (left + row * _CELL + 1, y, left + (row + 1) * _CELL - 1, y + 27)
            draw.rectangle(box, fill=_heat(weight))
            if weight > 0:
                ink = PAPER if weight > 0.4 else INK
                draw.text((box[0] + _CELL / 2, y + 13), f"{weight:.2f}", fill=ink, font=font(11), anchor="mm")
    return as_tensor(picture)


def row_mask_sheet(picture: Tensor, masks: Sequence[Tensor | None], columns: int = 4) -> Tensor:
    """Draw one tile for each row of W+: the picture, dark where the row may change nothing.

    Args:
        picture: [3, H, W] in -1..1.
        masks: L of [1, 1, h, w] in 0..1, or None.
        columns: tiles in a line.

    Returns:
        [H, W, 3] in 0..1.
    """
    size = picture.shape[-2:]
    base = (picture.clamp(-1, 1) + 1) / 2
    tiles = []
    for row, mask in enumerate(masks):
        visible = torch.zeros(size) if mask is None else _enlarge(mask, size)
        tile = as_picture(rearrange(base * (0.18 + 0.82 * visible.to(base)), "c h w -> h w c"))
        draw = ImageDraw.Draw(tile)
        draw.text((5, 3), f"row {row}" + ("" if mask is not None else ": unchanged"), fill=PAPER, font=font(12),
                  stroke_width=1, stroke_fill=INK)  # fmt: skip
        tiles.append(as_tensor(tile))
    tiles += [torch.ones_like(tiles[0])] * (-len(tiles) % columns)
    lines = [torch.cat(tiles[k : k + columns], dim=1) for k in range(0, len(tiles), columns)]
    return torch.cat(lines)


def part_colours(parts: PartLabels) -> Tensor:
    """Draw every part in a colour of its own, softly mixed: [B, 3, h, w] in -1..1."""
    count = len(parts.names)
    turn = torch.arange(count) / count * 2 * torch.pi
    colours = torch.stack([0.55 + 0.4 * torch.cos(turn + shift) for shift in (0.0, 2.1, 4.2)], dim=1)
    return torch.einsum("bphw,pc->bchw", parts.masks, colours.to(parts.masks)).clamp(0, 1) * 2 - 1


def loss_chart(losses: dict[str, list[float]], title: str, size: tuple[int, int] = (760, 380)) -> Tensor:
    """Draw every part of the loss against the steps, averaged over ten: [H, W, 3] in 0..1, ``size`` (width, height)."""
    width, height = size
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    left, right, top, bottom = 60, width - 220, 50, height - 40
    highest = max(max(_running_mean(values)) for values in losses.values()) or 1.0
    draw.text((left, 14), title, fill=INK, font=font(17))
    for k in range(5):
        y = bottom - k / 4 * (bottom - top)
        draw.line([(left, y), (right, y)], fill=(226, 229, 235))
        draw.text((left - 8, y), f"{highest * k / 4:.2f}", fill=GREY, font=font(11), anchor="rm")
    for k, (name, values) in enumerate(losses.items()):
        means = _running_mean(values)
        xs = [left + (right - left) * j / max(1, len(means) - 1) for j in range(len(means))]
        points = [(x, bottom - mean / highest * (bottom - top)) for x, mean in zip(xs, means, strict=True)]
        colour = _LINES[k % len(_LINES)]
        draw.line(points * (2 if len(points) == 1 else 1), fill=colour, width=2)
        draw.text((right + 14, top + 20 * k), f"{name} {means[-1]:.3f}", fill=colour, font=font(12))
    draw.text(((left + right) / 2, height - 18), f"{len(next(iter(losses.values())))} steps", fill=GREY, font=font(12),
              anchor="mm")  # fmt: skip
    return as_tensor(picture)


def _running_mean(values: Sequence[float], width: int = 10) -> list[float]:
    return [sum(values[max(0, k - width + 1) : k + 1]) / min(k + 1, width) for k in range(len(values))]


def _enlarge(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a mask [1, 1, h, w] to [*size], on the CPU."""
    return F.interpolate(mask.float(), tuple(size), mode="bilinear", align_corners=False)[0, 0].cpu()


def _heat(value: float) -> tuple[int, int, int]:
    """Return the colour of a value in 0..1."""
    low, high, share = (_HOT[0], _HOT[1], value * 2) if value < 0.5 else (_HOT[1], _HOT[2], value * 2 - 1)
    return tuple(round(a + (b - a) * min(1.0, share)) for a, b in zip(low, high, strict=True))
