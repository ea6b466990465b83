"""Drawings: what any editor drew at known strengths, and what a reader saw in it, picture by picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError

__all__ = ["StateDrawings", "gather_drawings", "strength_per_drawing"]

_DIGITS = 6  # behind the point: strengths that differ by less are one


@dataclass(frozen=True, eq=False)
class StateDrawings:
    """The strengths at which B pictures were drawn, and their readings (socket STATE_DRAWINGS).

    Args:
        strengths: [B, S] float64.
        readings: [B, S] float64; NaN where a drawing could not be read.

    Raises:
        InputError: two different shapes, or strengths that are not finite.
    """

    strengths: Tensor
    readings: Tensor

    def __post_init__(self) -> None:
        shapes = tuple(self.strengths.shape), tuple(self.readings.shape)
        if shapes[0] != shapes[1] or len(shapes[0]) != 2 or 0 in shapes[0]:
            raise InputError(
                f"Drawings have strengths {list(shapes[0])} and readings {list(shapes[1])}; both must be [B, S]."
            )
        if not bool(torch.isfinite(self.strengths).all()):
            raise InputError("The strengths of drawings must be finite numbers.")

    def __len__(self) -> int:
        """B, the number of pictures."""
        return len(self.strengths)

    def with_more(self, strengths: Tensor, readings: Tensor) -> StateDrawings:
        """Add one drawing of each picture: strengths [B] and readings [B]."""
        return StateDrawings(
            torch.cat([self.strengths, strengths[:, None]], dim=1), torch.cat([self.readings, readings[:, None]], dim=1)
        )


def strength_per_drawing(strengths: Sequence[float], batches: Sequence[int]) -> list[float]:
    """Give each of N drawings its strength.

    Args:
        strengths: one for each batch, or one for each drawing; or, for one batch, S of them: all pictures at the first
            strength come first, then all at the second.
        batches: how many drawings each batch of a list holds.

    Raises:
        InputError: another number of strengths; the sentence names both.
    """
    count = sum(batches)
    if len(strengths) == count:
        return list(strengths)
    if len(strengths) == len(batches):
        return [strength for strength, size in zip(strengths, batches, strict=True) for _ in range(size)]
    if len(batches) == 1 and strengths and count % len(strengths) == 0:
        return [strength for strength in strengths for _ in range(count // len(strengths))]
    raise InputError(
        f"There are {len(strengths)} strengths for {count} drawings in {len(batches)} batches; expected one for each "
        "drawing, or one for each batch."
    )


def gather_drawings(strengths: Sequence[float], readings: Sequence[float]) -> StateDrawings:
    """Sort N drawings into B pictures at the same S strengths each: the k-th drawing at a strength is of picture k.

    So both orders will do: all pictures at one strength after all at another, or all strengths of one picture after all
    of another.

    Args:
        strengths: N.
        readings: N; NaN where nothing was read.

    Raises:
        InputError: other numbers of strengths than readings, or strengths at which fewer pictures were drawn.
    """
    if len(strengths) != len(readings) or not len(strengths):
        raise InputError(f"There are {len(strengths)} strengths and {len(readings)} readings; expected one for each.")
    if not all(math.isfinite(strength) for strength in strengths):
        raise InputError("The strengths of drawings must be finite numbers.")
    columns: dict[float, list[float]] = {}
    for strength, reading in zip(strengths, readings, strict=True):
        columns.setdefault(round(strength, _DIGITS), []).append(reading)
    counts = {strength: len(column) for strength, column in sorted(columns.items())}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} at {strength:g}" for strength, count in list(counts.items())[:6])
        raise InputError(f"Every picture must be drawn at the same strengths; there are {listed} drawings.")
    values = torch.tensor([columns[strength] for strength in counts], dtype=torch.float64).t()
    return StateDrawings(torch.tensor(list(counts), dtype=torch.float64).expand(len(values), -1).clone(), values)
