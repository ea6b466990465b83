"""Error maps of an inversion: how far its picture is from the photo, and where."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

__all__ = ["error_map", "heat_picture", "region_words"]

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "", "right")
_HOTTEST = 0.5  # of the range of -1..1 that the map shows in white: an error of a quarter of all grey levels
_EVEN = 1.35  # times its share of the picture that a region must hold of the error to be named


def error_map(drawn: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the root mean square error over the colours, smoothed over a few pixels.

    Args:
        drawn, images: [B, 3, H, W] in -1..1, clamped first.
        mask: [B or 1, 1, H, W], 1 where the picture counts; the error is zero where it is zero.

    Returns:
        [B, 1, H, W].
    """
    error = (drawn.clamp(-1, 1) - images.clamp(-1, 1)).square().mean(dim=1, keepdim=True)
    if mask is not None:
        error = error * mask.to(error)
    size = max(3, error.shape[-1] // 48 | 1)
    return F.avg_pool2d(error, size, 1, size // 2, count_include_pad=False).sqrt()


def heat_picture(error: Tensor) -> Tensor:
    """Colour an error map [B, 1, H, W]: black, red, yellow, white; [B, 3, H, W] in -1..1.

    The scale is the same for all pictures, so that maps compare: white is an error of a quarter of the range.
    """
    t = (error / _HOTTEST).clamp(0, 1) * 3
    return torch.cat([t, t - 1, t - 2], dim=1).clamp(0, 1) * 2 - 1


def region_words(error: Tensor) -> list[str]:
    """Name for each map [B, 1, H, W] the ninths of the picture that hold more than their share of the squared error.

    "top left and middle: 46 % of the error on 22 % of the picture", or "even over the picture".
    """
    cells = rearrange(F.adaptive_avg_pool2d(error.square(), 3), "b 1 rows columns -> b (rows columns)")
    share = cells / cells.sum(dim=1, keepdim=True).clamp(min=1e-12)
    sentences = []
    for row in share.tolist():
        order = sorted(range(9), key=lambda k: -row[k])
        named = [k for k in order[:3] if row[k] > _EVEN / 9]
        if not named:
            sentences.append("even over the picture")
            continue
        regions = " and ".join(_cell_name(k) for k in named)
        sentences.append(
            f"{regions}: {100 * sum(row[k] for k in named):.0f} % of the error on {100 * len(named) / 9:.0f} % of it"
        )
    return sentences


def _cell_name(cell: int) -> str:
    row, column = _ROWS[cell // 3], _COLUMNS[cell % 3]
    return f"{row} {column}".strip()
