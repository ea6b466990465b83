"""Where an edit acts: the places of a change, weighed by its local size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["importance"]

_WINDOW = 5 / 128  # of the height, in which a change is averaged


def importance(change: Tensor) -> Tensor:
    """Weigh the places of a change [B, 3, H, W] by its local size, squared: [B, 1, H, W] in 0..1."""
    local = change.abs().mean(dim=1, keepdim=True)
    margin = max(1, round(local.shape[2] * _WINDOW / 2 - 0.5))
    for size, padding in (((2 * margin + 1, 1), (margin, 0)), ((1, 2 * margin + 1), (0, margin))):
        local = F.avg_pool2d(local, size, 1, padding, count_include_pad=False)
    strongest = local.flatten(1).quantile(0.98, dim=1).clamp(min=1e-6)
    return (local / strongest[:, None, None, None]).clamp(max=1).square()
