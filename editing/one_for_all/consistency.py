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
    values_before: Tensor,  # [B] values of one attribute
    values_after: Tensor,  # [B] of the same pictures, edited
    target: float | None = None,  # the example's value
    reference_std: float | None = None,  # of the attribute, where the batch is too small or too alike to tell
) -> Consistency:
    """Measure how closely a batch comes together, and where.

    Raises:
        InputError: different counts, or values that are not finite.
    """
    if values_before.ndim != 1 or values_before.shape != values_after.shape or values_before.numel() == 0:
        shapes = f"{tuple(values_before.shape)} and {tuple(values_after.shape)}"
        raise InputError(f"One value per picture is needed, as many after as before; got {shapes}.")
    # They may lie on two devices, and not all devices have float64.
    values_before, values_after = values_before.cpu().double(), values_after.cpu().double()
    if not bool(torch.isfinite(torch.cat([values_before, values_after])).all()):
        raise InputError("The values to compare are not all finite numbers.")
    std_before, std_after = (
        0.0 if len(values) == 1 else float(values.std()) for values in (values_before, values_after)
    )
    unit = reference_std or std_before
    mean_after = float(values_after.mean())
    if unit <= 0:
        spread, landing = float("nan"), None
    else:
        spread = std_after / unit
        landing = None if target is None else abs(mean_after - target) / unit
    return Consistency(spread, landing, float(values_before.mean()), mean_after, std_before, std_after)
