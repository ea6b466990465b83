"""Which eta: the authors' open question, answered from what a sweep shows.

The score rises with eta, and so does the distance from the photo; beyond a point the score stands still while the
distance goes on. Chosen is the least eta that reaches most of what the sentence can reach before the camera moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.errors import InputError

__all__ = ["REACH", "choose_eta", "eta_for_level", "rising"]

REACH = 0.85  # of the way from the photo's score to the best one


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
    moved: Sequence[bool] | None = None,
    reach: float = REACH,
) -> float:
    """The least eta whose (rising) score is ``reach`` of the way from the least to the highest.

    Args:
        etas: rising.
        scores: of the pictures at these etas, mean over seeds.
        moved: whether the camera had moved there; such etas and those beyond are left out, if others remain.

    Raises:
        InputError: as many scores as etas are needed, two at least.
    """
    if len(etas) != len(scores) or len(etas) < 2:
        raise InputError(f"Choosing eta needs two or more etas with a score each; got {len(etas)} and {len(scores)}.")
    order = np.argsort(etas)
    etas, scores = np.asarray(etas, float)[order], np.asarray(scores, float)[order]
    if moved is not None:
        first = next((place for place, index in enumerate(order) if moved[index]), len(order))
        keep = max(first, 2)
        etas, scores = etas[:keep], scores[:keep]
    curve = rising(scores)
    level = curve[0] + reach * (curve[-1] - curve[0])
    return eta_for_level(etas, curve, level)[0]


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
