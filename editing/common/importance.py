"""Where an edit acts: the places of a change, weighed by its local size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["above_threshold", "importance"]

_WINDOW = 5 / 128  # of the height, in which a change is averaged


def importance(change: Tensor) -> Tensor:
    """Weigh the places of a change [B, C, (f,) H, W] by its local size, squared: [B, 1, (1,) H, W] in 0..1."""
    local = _local_size(change)
    strongest = local.flatten(1).quantile(0.98, dim=1).clamp(min=1e-6)
    return _beside(change, (local / strongest[:, None, None, None]).clamp(max=1).square())


def above_threshold(change: Tensor, threshold: float) -> Tensor:
    """Weigh the places of a change by whether its local size is above a quantile; shapes as in `importance`.

    Soft: half at the quantile q itself, l^2 / (l^2 + q^2), and 1 at each picture's strongest place. A change that is
    everywhere alike is kept everywhere. The quantile is the edit threshold of SEGA (2301.12247) and LEDITS++
    (2311.16711), which cut hard.

    Args:
        threshold: share of the places that are below, 0..1; 0 keeps all but what does not change.
    """
    local = _local_size(change).square()
    level = local.float().flatten(1).quantile(threshold, dim=1).to(local)[:, None, None, None]
    weights = local / (local + level).clamp(min=1e-20)
    return _beside(change, weights / weights.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-20))


def _local_size(change: Tensor) -> Tensor:
    """Return the mean absolute change of the surroundings of each place, [B, 1, H, W]; of all frames together."""
    local = change.flatten(1, -3).abs().mean(dim=1, keepdim=True)
    margin = max(1, round(local.shape[2] * _WINDOW / 2 - 0.5))
    for size, padding in (((2 * margin + 1, 1), (margin, 0)), ((1, 2 * margin + 1), (0, margin))):
        local = F.avg_pool2d(local, size, 1, padding, count_include_pad=False)
    return local


def _beside(change: Tensor, weights: Tensor) -> Tensor:
    """Give weights [B, 1, H, W] the dimensions of the change."""
    return weights if change.ndim == 4 else weights[:, :, None]
