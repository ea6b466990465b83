"""Connected areas of masks, as boxes."""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional as F

__all__ = ["area_boxes"]

_SPECK = 0.01  # areas below this share of a mask's largest are specks


def area_boxes(mask: Tensor) -> list[tuple[int, int, int, int]]:
    """Return boxes x0, y0, x1, y1 of the connected areas (also over corners) of a mask [h, w], from left to right."""
    mask = mask.cpu()
    if not bool(mask.any()):
        return []
    # Worked out on at most 512 pixels a side; a cell counts when any of its pixels does.
    cell = max(1, -(-max(mask.shape) // 512))
    coarse = F.max_pool2d(mask[None, None].float(), cell, ceil_mode=True)[0, 0] > 0
    labels = repeat(_connected(coarse), "h w -> (h y) (w x)", y=cell, x=cell)
    fine = labels[: mask.shape[0], : mask.shape[1]] * mask
    areas = []
    for label, count in zip(*fine[fine > 0].unique(return_counts=True), strict=True):
        y, x = torch.nonzero(fine == label, as_tuple=True)
        areas.append((int(count), (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)))
    largest = max(count for count, _ in areas)
    return sorted(box for count, box in areas if count >= _SPECK * largest)


def _connected(mask: Tensor) -> Tensor:
    """Label a mask [h, w] by int64 numbers above 0, equal within an area: each pixel follows its largest neighbour."""
    numbers = torch.arange(1, mask.numel() + 1, dtype=torch.float64).reshape(mask.shape) * mask
    while True:
        spread = F.max_pool2d(numbers[None, None], 3, 1, 1)[0, 0] * mask
        # A number is the index of a pixel of the same area: jumping to that pixel's number halves the way each time.
        index = (spread.flatten().long() - 1).clamp(min=0)
        spread = torch.maximum(spread, spread.flatten()[index].reshape(mask.shape) * mask)
        if bool((spread == numbers).all()):
            return numbers.long()
        numbers = spread
