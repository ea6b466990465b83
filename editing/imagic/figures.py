"""Figures of Imagic: losses, the grid over eta and seed, and the curves that decide eta."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..common.figures import (
    AFTER,
    BEFORE,
    GREY,
    INK,
    LIGHT,
    PAPER,
    TARGET,
    Axes,
    as_picture,
    as_tensor,
    contact_sheet,
    font,
    polyline,
)
from .common_state import CommonState
from .sweep import EtaSweep

__all__ = ["common_plot", "loss_plot", "sweep_plot", "sweep_sheet"]


def loss_plot(losses: Sequence[float], loss_before: float, loss_after: float, title: str) -> Tensor:
    """Plot the loss of each step, its running mean, and the loss on fixed noise before and after.

    Args:
        losses: one per step; those that are not finite are steps that overflowed and were not taken.
        loss_before, loss_after: over the same fixed noise.

    Returns:
        [H, W, 3] in 0..1.
    """
    losses = [loss if math.isfinite(loss) else loss_before for loss in losses]
    width, height = 760, 360
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    left, right, top, bottom = 64, width - 150, 48, height - 44
    high = max(*losses, loss_before, loss_after) * 1.05 or 1.0

    def point(step: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * step / max(1, len(losses) - 1)
        return x, bottom - min(value / high, 1.0) * (bottom - top)

    draw.text((left, 14), title, fill=INK, font=font(17))
    for k in range(5):
        y = bottom - k / 4 * (bottom - top)
        draw.line([(left, y), (right, y)], fill=LIGHT)
        draw.text((left - 8, y), f"{high * k / 4:.3f}", fill=GREY, font=font(11), anchor="rm")
    polyline(draw, [point(k, value) for k, value in enumerate(losses)], BEFORE, 1)
    mean, curve = losses[0], []
    for k, value in enumerate(losses):
        mean = mean + (value - mean) / min(k + 1, 20)
        curve.append(point(k, mean))
    polyline(draw, curve, AFTER, 2)
    for name, value, step in (("before", loss_before, 0), ("after", loss_after, len(losses) - 1)):
        x, y = point(step, value)
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=TARGET)
        draw.text((right + 14, y), f"{name} {value:.4f}", fill=TARGET, font=font(12), anchor="lm")
    draw.text(((left + right) / 2, height - 18), f"{len(losses)} steps; red: on fixed noise", fill=GREY,
              font=font(12), anchor="mm")  # fmt: skip
    return as_tensor(picture)


def sweep_sheet(sweep: EtaSweep) -> Tensor:
    """Draw the photo, below it a row of pictures for each seed, eta rising to the right; a frame on the best.

    Returns:
        [H, W, 3] in 0..1.
    """
    seeds = [[sweep.images[e, s] for e in range(len(sweep.etas))] for s in range(len(sweep.seeds))]
    scale = max(1, 128 // seeds[0][0].shape[1])
    grid = contact_sheet(seeds, list(sweep.rows) or [f"seed {seed}" for seed in sweep.seeds], scale)
    head = contact_sheet([[sweep.photo]], ["photo"], scale)
    width = max(grid.shape[1], head.shape[1])
    sheet = as_picture(torch.cat([_pad_right(head, width), torch.ones(26, width, 3), _pad_right(grid, width)]))
    draw = ImageDraw.Draw(sheet)
    tile = seeds[0][0].shape[1] * scale + 4
    left = grid.shape[1] - 4 - tile * len(sweep.etas)
    nearest = sweep.best_index
    for k, eta in enumerate(sweep.etas):
        name = f"eta {eta:g}" + (" (camera moved)" if sweep.moves[k].moved else "")
        middle = left + (k + 0.5) * tile
        draw.text((middle, head.shape[0] + 14), name, fill=TARGET if k == nearest else INK, font=font(13), anchor="mm")
    first, last = (0, len(seeds)) if sweep.best_row is None else (sweep.best_row, sweep.best_row + 1)
    row = seeds[0][0].shape[0] * scale + 4
    ends = head.shape[0] + 27 + first * row, head.shape[0] + 28 + last * row
    box = (left + nearest * tile + 1, ends[0], left + (nearest + 1) * tile + 2, min(ends[1], sheet.height - 2))
    draw.rectangle(box, outline=TARGET, width=3)
    return as_tensor(sheet)


def sweep_plot(sweep: EtaSweep, title: str) -> Tensor:
    """Plot the score and the distance from the photo over eta, each on its own scale, and the best eta.

    Returns:
        [H, W, 3] in 0..1.
    """
    curves = [("distance from the photo", sweep.distances, BEFORE)]
    if sweep.scores is not None:
        curves.append(("fits the sentence", sweep.scores, AFTER))
    marks = [(sweep.best_eta, f"eta {sweep.best_eta:.2f}")]
    return _curves(sweep.etas, curves, marks, title)


def common_plot(etas: Sequence[float], scores: Sequence[Sequence[float]], state: CommonState, title: str) -> Tensor:
    """Plot a score curve for each photo, the level that all are brought to, and the eta at which each meets it.

    Args:
        etas: E.
        scores: [B][E].
        state: of these B photos.

    Returns:
        [H, W, 3] in 0..1.
    """
    width, height = 760, 420
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    values = [value for row in scores for value in row] + [state.level]
    low, high = min(values), max(values)
    axes = Axes(64, width - 40, 50, height - 50, min(etas), max(etas), low, high)
    draw.text((axes.left, 14), title, fill=INK, font=font(17))
    axes.draw(draw, "eta")
    for row in scores:
        polyline(draw, [axes.at(eta, value) for eta, value in zip(etas, row, strict=True)], BEFORE, 2)
    (x0, y), (x1, _) = axes.at(min(etas), state.level), axes.at(max(etas), state.level)
    draw.line([(x0, y), (x1, y)], fill=TARGET, width=2)
    for eta, reached in zip(state.etas, state.reached, strict=True):
        x, y = axes.at(eta, state.level)
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=AFTER if reached else PAPER, outline=AFTER, width=2)
    return as_tensor(picture)


def _curves(etas, curves, marks, title) -> Tensor:
    width, height = 760, 400
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((40, 14), title, fill=INK, font=font(17))
    for name, values, colour in curves:
        low, high = min(values), max(values)
        axes = Axes(40, width - 40, 76, height - 50, min(etas), max(etas), low, high)
        if name == curves[0][0]:
            axes.draw(draw, "eta")
            draw.rectangle([0, 70, 38, height], fill=PAPER)  # two scales share the paper, so that neither has numbers
            draw.rectangle([width - 38, 70, width, height - 60], fill=PAPER)
        points = [axes.at(eta, value) for eta, value in zip(etas, values, strict=True)]
        polyline(draw, points, colour, 3)
        for (x, y), value in zip(points, values, strict=True):
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=colour)
            draw.text((x, y - 12), f"{value:.3f}", fill=colour, font=font(11), anchor="mm")
    x_text = 40
    for name, _, colour in curves:
        draw.text((x_text, 44), name, fill=colour, font=font(13))
        x_text += 30 + font(13).getlength(name)
    axes = Axes(40, width - 40, 76, height - 50, min(etas), max(etas), 0, 1)
    for eta, name in marks:
        x, _ = axes.at(eta, 0)
        draw.line([(x, 70), (x, height - 50)], fill=TARGET, width=2)
        draw.text((x, 60), name, fill=TARGET, font=font(12), anchor="mm")
    return as_tensor(picture)


def _pad_right(sheet: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(sheet, (0, 0, 0, width - sheet.shape[1]), value=1.0)
