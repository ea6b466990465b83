"""Consistency of a batch: spread and landing of one attribute, in its own standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError


@dataclass(frozen=True)
class Consistency:
    """The state of a batch before and after its edit."""

    spread: float  # std after / std before
    landing: float | None  # |mean after - target| / std before; None without a target
    mean_before: float
    mean_after: float
    std_before: float
    std_after: float


def measure_consistency(
    before: Tensor,  # [B] values of one attribute
    after: Tensor,  # [B] of the same pictures, edited
    target: float | None = None,  # the example's value
    reference_std: float | None = None,  # of the attribute, where the batch is too small or too alike to tell
) -> Consistency:
    """Measure how closely a batch comes together, and where.

    Raises:
        InputError: different counts, or values that are not finite.
    """
    if before.ndim != 1 or before.shape != after.shape or before.numel() == 0:
        shapes = f"{tuple(before.shape)} and {tuple(after.shape)}"
        raise InputError(f"One value per picture is needed, as many after as before; got {shapes}.")
    before, after = before.cpu().double(), after.cpu().double()  # they may lie on two devices; not all have float64
    if not bool(torch.isfinite(torch.cat([before, after])).all()):
        raise InputError("The values to compare are not all finite numbers.")
    std_before, std_after = (0.0 if len(values) == 1 else float(values.std()) for values in (before, after))
    unit = reference_std or std_before
    mean_after = float(after.mean())
    if unit <= 0:
        spread, landing = float("nan"), None
    else:
        spread = std_after / unit
        landing = None if target is None else abs(mean_after - target) / unit
    return Consistency(spread, landing, float(before.mean()), mean_after, std_before, std_after)
