"""The choice of eta, Imagic's open question, answered by isotonic regression of what a sweep shows.

The score rises with eta, and so does the distance from the photo; beyond a point the score stands still while the
distance goes on. The best eta is where the rise that is reached, times the nearness that is left, is largest. Power and
cost were chosen on development sweeps (benchmarks/results/imagic.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.errors import InputError
from ..common.isotonic import isotonic_regression

__all__ = ["DISTANCE_COST", "choose_between", "choose_eta", "eta_for_level"]

DISTANCE_COST = 0.7  # share of the worth that is lost between the sweep's nearest and its farthest picture
_RISE_POWER = 1.5  # above 1, half of the edit is worth less than half
_BETWEEN_POWER, _BETWEEN_COST = 1.25, 0.8  # likewise between two sweeps, whose pictures span more
_GRID = 201  # points between the first eta and the last at which the worth is computed


def choose_eta(
    etas: Sequence[float],
    scores: Sequence[float],
    distances: Sequence[float],
    photo_score: float,
    moved: Sequence[bool] | None = None,
    cost: float = DISTANCE_COST,
) -> float:
    """Return the eta, between samples too, with the largest (share of the rise)^1.5 x (1 - cost x share of distance).

    Both curves are taken as rising, which takes sampling noise out; both shares are of what this sweep spans, so that
    neither the scale of a scorer nor that of a distance matters. With equal worth the least eta is taken.

    Args:
        etas: E values in any order.
        scores: E, of the pictures at these etas, mean over seeds.
        distances: E, of the same pictures from the photo.
        photo_score: of the photo itself, which the rise is counted from.
        moved: E flags, True where the camera moved; such etas and those beyond are left out, if others remain.
        cost: share of the worth that the farthest picture loses.

    Raises:
        InputError: when there are not as many scores and distances as etas, two at least.
    """
    if not len(etas) == len(scores) == len(distances) >= 2:
        raise InputError(
            "Choosing eta needs two or more etas with a score and a distance each; "
            f"got {len(etas)}, {len(scores)} and {len(distances)}."
        )
    order = np.argsort(etas)
    etas, scores, distances = (np.asarray(values, float)[order] for values in (etas, scores, distances))
    if moved is not None:
        first_moved = next((k for k, index in enumerate(order) if moved[index]), len(order))
        count = max(first_moved, 2)
        etas, scores, distances = etas[:count], scores[:count], distances[:count]
    grid = np.linspace(etas[0], etas[-1], _GRID)
    score, distance = (np.interp(grid, etas, isotonic_regression(values)) for values in (scores, distances))
    return float(grid[int(np.argmax(_worth(score, distance, photo_score, _RISE_POWER, cost)))])


def _worth(scores: np.ndarray, distances: np.ndarray, photo_score: float, power: float, cost: float) -> np.ndarray:
    """Return (share of the rise)^power x (1 - cost x share of distance) of rising curves, both [..., E]."""
    base, nearest = min(photo_score, scores.min()), distances.min()
    rise = (scores - base) / max(scores.max() - base, 1e-9)
    departure = (distances - nearest) / max(distances.max() - nearest, 1e-9)
    return np.round(rise**power * (1 - cost * departure), 9)


def choose_between(
    scores: Sequence[Sequence[float]], distances: Sequence[Sequence[float]], photo_score: float
) -> tuple[int, int]:
    """Return the sweep, and which of its etas, that is worth most by `choose_eta`'s measure over all of them together.

    Only what was painted is chosen: between two sweeps there is no curve.

    Args:
        scores, distances: of R sweeps over the same E rising etas.
        photo_score: of the photo itself.
    """
    scores, distances = (np.array([isotonic_regression(row) for row in rows]) for rows in (scores, distances))
    worth = _worth(scores, distances, photo_score, _BETWEEN_POWER, _BETWEEN_COST)
    row, index = np.unravel_index(int(np.argmax(worth)), worth.shape)
    return int(row), int(index)


def eta_for_level(etas: Sequence[float], scores: Sequence[float], level: float) -> tuple[float, bool]:
    """Return the least eta at which the rising curve reaches ``level``, between the samples too, and if it does at all.

    A level out of reach gives the nearest end.

    Args:
        etas: E rising values.
        scores: E.
    """
    curve = isotonic_regression(scores)
    if level <= curve[0]:
        return float(etas[0]), bool(np.isclose(level, curve[0]))
    if level > curve[-1] + 1e-9:
        return float(etas[int(np.argmax(curve >= curve[-1] - 1e-9))]), False
    right = max(int(np.argmax(curve >= level - 1e-12)), 1)
    low, high = curve[right - 1], curve[right]
    fraction = min(max((level - low) / max(high - low, 1e-12), 0.0), 1.0)
    return float(etas[right - 1] + fraction * (etas[right] - etas[right - 1])), True
