"""Learning rates over the steps: constant, or falling along a cosine (SGDR, 1608.03983, without restarts)."""

from __future__ import annotations

import math

__all__ = ["SCHEDULES", "rate_factor"]

SCHEDULES = ("constant", "cosine")


def rate_factor(schedule: str, step: int, steps: int) -> float:
    """Return what the rate of step ``step`` (from 0) of ``steps`` is multiplied with, above 0 up to 1.

    Args:
        schedule: one of SCHEDULES.
    """
    if schedule == SCHEDULES[0]:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * step / steps))
