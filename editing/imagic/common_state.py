"""Edit One for All (2401.10219) on diffusion models: one eta per photo, so that all photos reach the same state.

With one eta for all, a photo that is almost at the state overshoots and a stubborn one stays behind. Each photo's score
over eta is a curve; the eta at which the curve crosses the common level brings that photo to the common state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...models.errors import InputError
from ..common.isotonic import isotonic_regression
from .eta import eta_for_level

__all__ = ["CommonState", "common_state"]

_NAMED = 8  # photos that a report names

Curve = tuple[Sequence[float], Sequence[float]]  # etas and scores


@dataclass(frozen=True)
class CommonState:
    """One eta per photo.

    Args:
        level: the score that all are brought to.
        etas: B values.
        reached: B flags, True where the photo can reach the level at all.
    """

    level: float
    etas: tuple[float, ...]
    reached: tuple[bool, ...]

    def report(self, names: Sequence[str] = ()) -> str:
        """Say in a sentence which photos fall short, by the curves: what is painted then is not read again.

        Args:
            names: B, or none: the photos are numbered then.
        """
        names = names or [f"#{k + 1}" for k in range(len(self.etas))]
        short = [name for name, reached in zip(names, self.reached, strict=True) if not reached]
        text = f"{len(self.etas) - len(short)} of {len(self.etas)} photos can reach the score {self.level:.3f}"
        text += f"; etas from {min(self.etas):.2f} to {max(self.etas):.2f}."
        return text + (f" Nearest they get: {', '.join(short[:_NAMED])}." if short else "")


def common_state(
    etas: Sequence[float],
    scores: Sequence[Sequence[float]],
    automatic: Sequence[float],
    level: float | None = None,
    example: int | None = None,
    example_eta: float | None = None,
    moved: Sequence[Sequence[bool]] | None = None,
) -> CommonState:
    """Choose an eta per photo, so that all reach one score.

    Args:
        etas: E rising values.
        scores: [B][E], one curve per photo.
        automatic: B, the eta of each photo's own sweep, which says how far a single edit would go.
        level: the score to reach. Left out: that of photo ``example`` at ``example_eta`` (at its automatic eta where
            that is left out), or, without an example, the median of all photos at their automatic etas.
        example: index of a photo.
        example_eta: its eta.
        moved: [B][E], True where the camera moved; from the first such picture on, a photo's etas are left out, if two
            others remain.

    Raises:
        InputError: when there is no photo, the etas do not rise, or the example is not among the photos.
    """
    if not scores or len(etas) < 2 or any(b <= a for a, b in zip(etas, etas[1:], strict=False)):
        raise InputError("A common state needs photos, and two or more rising etas.")
    if any(len(row) != len(etas) for row in scores):
        raise InputError(f"Each photo needs {len(etas)} scores, one per eta.")
    if example is not None and not 0 <= example < len(scores):
        raise InputError(f"The example is photo {example + 1} of {len(scores)}.")
    curves = [_unmoved(etas, row, None if moved is None else moved[k]) for k, row in enumerate(scores)]
    if level is None:
        level = _common_level(curves, automatic, example, example_eta)
    solutions = [eta_for_level(*curve, level) for curve in curves]
    return CommonState(
        float(level), tuple(round(eta, 4) for eta, _ in solutions), tuple(reached for _, reached in solutions)
    )


def _common_level(
    curves: Sequence[Curve], automatic: Sequence[float], example: int | None, example_eta: float | None
) -> float:
    scores = [_score_at(*curve, eta) for curve, eta in zip(curves, automatic, strict=True)]
    if example is None:
        return sorted(scores)[len(scores) // 2]
    return scores[example] if example_eta is None else _score_at(*curves[example], example_eta)


def _unmoved(etas: Sequence[float], scores: Sequence[float], moved: Sequence[bool] | None) -> Curve:
    """Cut a photo's curve off where its camera moves."""
    first_moved = next((k for k, flag in enumerate(moved or ()) if flag), len(etas))
    return etas[: max(first_moved, 2)], scores[: max(first_moved, 2)]


def _score_at(etas: Sequence[float], scores: Sequence[float], eta: float) -> float:
    curve = isotonic_regression(scores)
    if eta <= etas[0]:
        return float(curve[0])
    for right in range(1, len(etas)):
        if eta <= etas[right]:
            fraction = (eta - etas[right - 1]) / (etas[right] - etas[right - 1])
            return float(curve[right - 1] + fraction * (curve[right] - curve[right - 1]))
    return float(curve[-1])
