"""Which eta: the authors' open question, answered from what a sweep shows.

The score rises with eta, and so does the distance from the photo; beyond a point the score stands still while the
distance goes on. Chosen is the eta where what has been reached, times the nearness that is left, is largest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.errors import InputError

__all__ = ["DISTANCE_COST", "choose_eta", "eta_for_level", "rising"]

DISTANCE_COST = 0.5  # share of the worth that is lost between the sweep's nearest and its farthest picture
_FINE = 201  # places between the first eta and the last that are looked at


def rising(values: Sequence[float]) -> np.ndarray:
    """The closest never-falling curve (pool adjacent violators), which takes sampling noise out of a score curve."""
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (b, m), (a, n) = blocks.pop(), blocks.pop()
            blocks.append([(a * n + b * m) / (n + m), n + m])
    return np.concatenate([np.full(int(count), value) for value, count in blocks])


def choose_eta(
    etas: Sequence[float],
    scores: Sequence[float],
    distances: Sequence[float],
    photo_score: float,
    moved: Sequence[bool] | None = None,
    cost: float = DISTANCE_COST,
) -> float:
    """The eta, between the samples too, with the largest (share of the rise reached) x (1 - cost x share of distance).

    Both curves are taken as rising, which takes sampling noise out; both shares are of what this sweep spans, so that
    neither the scale of a scorer nor that of a distance matters. With equal worth the least eta is taken.

    Args:
        etas: in any order.
        scores: of the pictures at these etas, mean over seeds.
        distances: of the same pictures from the photo.
        photo_score: of the photo itself, which the rise is counted from.
        moved: whether the camera had moved there; such etas and those beyond are left out, if others remain.

    Raises:
        InputError: as many scores and distances as etas are needed, two at least.
    """
    if not len(etas) == len(scores) == len(distances) >= 2:
        raise InputError(
            "Choosing eta needs two or more etas with a score and a distance each; "
            f"got {len(etas)}, {len(scores)} and {len(distances)}."
        )
    order = np.argsort(etas)
    etas, scores, distances = (np.asarray(values, float)[order] for values in (etas, scores, distances))
    if moved is not None:
        first = next((place for place, index in enumerate(order) if moved[index]), len(order))
        keep = max(first, 2)
        etas, scores, distances = etas[:keep], scores[:keep], distances[:keep]
    fine = np.linspace(etas[0], etas[-1], _FINE)
    reached, gone = (np.interp(fine, etas, rising(values)) for values in (scores, distances))
    start = min(photo_score, reached[0])
    reached = (reached - start) / max(reached[-1] - start, 1e-9)
    gone = (gone - gone[0]) / max(gone[-1] - gone[0], 1e-9)
    return float(fine[int(np.argmax(np.round(reached * (1 - cost * gone), 9)))])


def eta_for_level(etas: Sequence[float], scores: Sequence[float], level: float) -> tuple[float, bool]:
    """The least eta at which a rising curve reaches ``level``, between the samples too, and whether it does at all.

    A level out of reach gives the nearest end.
    """
    curve = rising(scores)
    if level <= curve[0]:
        return float(etas[0]), bool(np.isclose(level, curve[0]))
    if level > curve[-1] + 1e-9:
        return float(etas[int(np.argmax(curve >= curve[-1] - 1e-9))]), False
    after = max(int(np.argmax(curve >= level - 1e-12)), 1)
    low, high = curve[after - 1], curve[after]
    share = min(max((level - low) / max(high - low, 1e-12), 0.0), 1.0)
    return float(etas[after - 1] + share * (etas[after] - etas[after - 1])), True
