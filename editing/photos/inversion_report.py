"""What an inversion could not say: how far its picture is from the photo, and where."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["error_map", "heat_picture", "region_words"]

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "", "right")
_HOTTEST = 0.5  # of the range of -1..1 that the map shows in white: an error of a quarter of all grey levels
_EVEN = 1.35  # times its share of the picture that a region must hold of the error to be named


def error_map(drawn: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """[B, 1, H, W]: root mean square over the colours, smoothed over a few pixels; zero where the mask is."""
    error = (drawn.clamp(-1, 1) - images.clamp(-1, 1)).square().mean(dim=1, keepdim=True)
    if mask is not None:
        error = error * mask.to(error)
    size = max(3, error.shape[-1] // 48 | 1)
    return F.avg_pool2d(error, size, 1, size // 2, count_include_pad=False).sqrt()


def heat_picture(error: Tensor) -> Tensor:
    """[B, 1, H, W] of :func:`error_map` -> colours [B, 3, H, W] in -1..1: black, red, yellow, white.

    The scale is the same for all pictures, so that maps compare: white is an error of a quarter of the range.
    """
    t = (error / _HOTTEST).clamp(0, 1) * 3
    return torch.cat([t, t - 1, t - 2], dim=1).clamp(0, 1) * 2 - 1


def region_words(error: Tensor) -> list[str]:
    """For each map [B, 1, H, W], which ninths of the picture hold more than their share of the squared error.

    "top left and middle: 46 % of the error on 22 % of the picture", or "even over the picture".
    """
    cells = F.adaptive_avg_pool2d(error.square(), 3).flatten(1)
    share = cells / cells.sum(dim=1, keepdim=True).clamp(min=1e-12)
    words = []
    for row in share.tolist():
        order = sorted(range(9), key=lambda k: -row[k])
        named = [k for k in order[:3] if row[k] > _EVEN / 9]
        if not named:
            words.append("even over the picture")
            continue
        places = " and ".join(_place(k) for k in named)
        words.append(
            f"{places}: {100 * sum(row[k] for k in named):.0f} % of the error on {100 * len(named) / 9:.0f} % of it"
        )
    return words


def _place(cell: int) -> str:
    row, column = _ROWS[cell // 3], _COLUMNS[cell % 3]
    return f"{row} {column}".strip()
