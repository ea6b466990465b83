"""The choice of eta, Imagic's open question, answered by isotonic regression of what a sweep shows.

The score rises with eta, and so do the distance from the photo and what changed beside the sentence; beyond a point the
score stands still while those go on. The best eta is where the rise that is reached, times the nearness that is left,
is largest. Only what was painted is chosen: at some eta a picture may jump, and between two painted ones nothing is
known. The costs were chosen on development sweeps (benchmarks/results/imagic.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.errors import InputError
from ..common.isotonic import isotonic_regression

__all__ = ["choose_between", "choose_eta", "eta_for_level"]

# Share of the worth that is lost between the nearest and the farthest picture: of one sweep, and of several, whose
# pictures span more.
_COST, _BETWEEN_COST = 0.5, 0.8
_LEFT = 2  # etas at least, however early the camera moves


def choose_eta(
    etas: Sequence[float],
    scores: Sequence[float],
    distances: Sequence[float],
    photo_score: float,
    moved: Sequence[bool] | None = None,
    besides: Sequence[float] | None = None,
) -> float:
    """Return the eta with the largest (share of the rise) x (1 - .5 x share of the departure).

    All curves are taken as rising, which takes sampling noise out; shares are of what this sweep spans, so that neither
    the scale of a scorer nor that of a distance matters. With equal worth the least eta is taken.

    Args:
        etas: E values in any order.
        scores: E, of the pictures at these etas, mean over seeds.
        distances: E, of the same pictures from the photo.
        photo_score: of the photo itself, which the rise is counted from.
        moved: E flags, True where the camera moved; such etas and those beyond are left out, if others remain.
        besides: E, how much else changed, such as `SentenceScore.beside` says; the departure is the mean of its share
            and the distance's. Left out: the distance's.

    Raises:
        InputError: when there are not as many scores and distances as etas, two at least.
    """
    if not len(etas) == len(scores) == len(distances) >= 2:
        raise InputError(
            "Choosing eta needs two or more etas with a score and a distance each; "
            f"got {len(etas)}, {len(scores)} and {len(distances)}."
        )
    order = np.argsort(etas)
    if moved is not None:
        order = order[: max(_first([moved[index] for index in order]), _LEFT)]
    etas, scores, distances = (np.asarray(values, float)[order] for values in (etas, scores, distances))
    besides = None if besides is None else [np.asarray(besides, float)[order]]
    return float(etas[_most_worth([scores], [distances], photo_score, besides, None, _COST)[1]])


def choose_between(
    scores: Sequence[Sequence[float]],
    distances: Sequence[Sequence[float]],
    photo_score: float,
    besides: Sequence[Sequence[float]] | None = None,
    moved: Sequence[Sequence[bool]] | None = None,
) -> tuple[int, int]:
    """Return the sweep, and which of its etas, that is worth most by `choose_eta`'s measure over all of them together.

    The farthest of all their pictures loses .8 of its worth.

    Args:
        scores, distances, besides, moved: of R sweeps over the same E rising etas.
        photo_score: of the photo itself.
    """
    return _most_worth(scores, distances, photo_score, besides, moved, _BETWEEN_COST)


def _most_worth(
    scores: Sequence[Sequence[float]],
    distances: Sequence[Sequence[float]],
    photo_score: float,
    besides: Sequence[Sequence[float]] | None,
    moved: Sequence[Sequence[bool]] | None,
    cost: float,
) -> tuple[int, int]:
    rising = [_rising(rows) for rows in ([scores, distances] if besides is None else [scores, distances, besides])]
    base = min(photo_score, rising[0].min())
    rise = (rising[0] - base) / max(rising[0].max() - base, 1e-9)
    departure = np.mean([_share(curves) for curves in rising[1:]], axis=0)
    worth = np.round(rise * (1 - cost * departure), 9)
    for row, flags in enumerate(moved or ()):
        worth[row, max(_first(flags), _LEFT) :] = -1
    row, index = np.unravel_index(int(np.argmax(worth)), worth.shape)
    return int(row), int(index)


def _first(flags: Sequence[bool]) -> int:
    """Return the index of the first that is set, or how many there are."""
    return next((k for k, flag in enumerate(flags) if flag), len(flags))


def _rising(rows: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([isotonic_regression(row) for row in rows])


def _share(curves: np.ndarray) -> np.ndarray:
    """Return where between their least and their largest values curves [R, E] are, 0..1."""
    return (curves - curves.min()) / max(curves.max() - curves.min(), 1e-9)


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
