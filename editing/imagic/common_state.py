"""Edit One for All on diffusion: one eta per photo, so that all photos reach the same state.

With one eta for all, a photo that is almost there overshoots and a stubborn one stays behind. Each photo's score over
eta is a curve; the eta at which the curve crosses the wanted level brings that photo to the common state (2401.10219).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...models.errors import InputError
from .eta import eta_for_level, rising

__all__ = ["CommonState", "common_state"]


@dataclass(frozen=True)
class CommonState:
    """One eta per photo.

    Args:
        level: the score that all are brought to.
        etas: B values.
        reached: B flags: whether the photo can reach the level at all.
    """

    level: float
    etas: tuple[float, ...]
    reached: tuple[bool, ...]

    def report(self, names: Sequence[str] = ()) -> str:
        """Which photos fall short, in a sentence."""
        names = names or [f"#{k + 1}" for k in range(len(self.etas))]
        short = [name for name, there in zip(names, self.reached, strict=True) if not there]
        text = f"{len(self.etas) - len(short)} of {len(self.etas)} photos reach the score {self.level:.3f}"
        text += f"; etas from {min(self.etas):.2f} to {max(self.etas):.2f}."
        return text + (f" Nearest they get: {', '.join(short[:8])}." if short else "")


def common_state(
    etas: Sequence[float],
    scores: Sequence[Sequence[float]],  # B photos x E etas
    automatic: Sequence[float],  # B
    level: float | None = None,
    example: int | None = None,
    example_eta: float | None = None,
    moved: Sequence[Sequence[bool]] | None = None,  # B x E: whether the camera had moved there
) -> CommonState:
    """Choose an eta per photo.

    Args:
        automatic: the eta of each photo's own sweep, which says how far a single edit would go.
        level: the score to reach. Left out: that of photo ``example`` at ``example_eta`` (at its automatic eta where
            that is left out), or, without an example, the median of all photos at their automatic etas.
        moved: from the first moved picture on, a photo's etas are left out, if two others remain.

    Raises:
        InputError: no photo, etas that do not rise, an example that is not there.
    """
    if not scores or len(etas) < 2 or any(b <= a for a, b in zip(etas, etas[1:], strict=False)):
        raise InputError("A common state needs photos, and two or more rising etas.")
    if any(len(row) != len(etas) for row in scores):
        raise InputError(f"Each photo needs {len(etas)} scores, one per eta.")
    if example is not None and not 0 <= example < len(scores):
        raise InputError(f"The example is photo {example + 1} of {len(scores)}.")
    curves = [_still(etas, row, None if moved is None else moved[k]) for k, row in enumerate(scores)]
    if level is None:
        alone = [_score_at(*curve, eta) for curve, eta in zip(curves, automatic, strict=True)]
        if example is None:
            level = sorted(alone)[len(alone) // 2]
        else:
            level = alone[example] if example_eta is None else _score_at(*curves[example], example_eta)
    found = [eta_for_level(*curve, level) for curve in curves]
    return CommonState(float(level), tuple(round(eta, 4) for eta, _ in found), tuple(there for _, there in found))


def _still(
    etas: Sequence[float], scores: Sequence[float], moved: Sequence[bool] | None
) -> tuple[Sequence[float], Sequence[float]]:
    """The part of a photo's curve before its camera moves."""
    first = next((k for k, there in enumerate(moved or ()) if there), len(etas))
    return etas[: max(first, 2)], scores[: max(first, 2)]


def _score_at(etas: Sequence[float], scores: Sequence[float], eta: float) -> float:
    curve = rising(scores)
    if eta <= etas[0]:
        return float(curve[0])
    for place in range(1, len(etas)):
        if eta <= etas[place]:
            share = (eta - etas[place - 1]) / (etas[place] - etas[place - 1])
            return float(curve[place - 1] + share * (curve[place] - curve[place - 1]))
    return float(curve[-1])
