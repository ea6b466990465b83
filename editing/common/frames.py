"""Temporal smoothing: a batch whose pictures are the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

__all__ = ["hold_over_time", "smooth_over_time"]


def smooth_over_time(values: Tensor, sigma: float, times: Sequence[float] | None = None) -> Tensor:
    """Average over neighbouring frames with a Gaussian; the ends count for themselves.

    Args:
        values: [B, ...] of B frames, floating point: strengths, codes, masks, transforms.
        sigma: standard deviation in frames; 0 changes nothing.
        times: B frame numbers where some frames are missing; left out: 0, 1, 2, ...

    Returns:
        The shape of ``values``.
    """
    if len(values) == 1 or sigma <= 0:
        return values
    frames = torch.as_tensor(range(len(values)) if times is None else times, dtype=values.dtype, device=values.device)
    weights = torch.exp(-0.5 * ((frames[:, None] - frames) / sigma) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (weights @ rearrange(values, "b ... -> b (...)")).reshape(values.shape)


def hold_over_time(values: Tensor) -> Tensor:
    """Give every frame the (lower) median over all frames: [B, ...] -> the same shape."""
    return values.median(dim=0, keepdim=True).values.expand_as(values).clone()
