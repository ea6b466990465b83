"""Units of coordinates that come without one: fractions of a picture, or its pixels."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["are_fractions"]

_MARGIN = 0.1  # detectors put points a little outside of a picture
_STRAY = 0.1  # share of the numbers that may lie anywhere


def are_fractions(numbers: Sequence[float]) -> bool:
    """Judge whether numbers are fractions of width and height: nine in ten of them lie in -0.1..1.1.

    A single stray number changes nothing, and in pixels all of this would lie within the first one.
    """
    inside = sum(-_MARGIN <= number <= 1 + _MARGIN for number in numbers)
    return bool(numbers) and inside >= (1 - _STRAY) * len(numbers)
