"""Render and correct: strengths by a secant search on measured pictures, for each picture by itself.

The closed form trusts that the attribute is linear in W. Where it is not, the pictures tell: each moves on by the score
it still lacks, divided by how its own score answered the last move. The goal is the score of the example's own edited
picture, so the batch also lands where the example is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.progress import Progress, stage
from ..common.types import EditDirection, EditStrength
from .attribute_score import AttributeScore
from .closed_form import apply_edit, attribute_values, plan_strength, target_value
from .example_edit import row_mask

ROUNDS = 2
_SLOPES = (0.4, 2.5)  # a picture's own answer to a move is believed within these multiples of the expected one
_HALF_CONFIDENCE = 0.5  # standard deviations from the goal that halve the confidence
_SMALLEST_MOVE = 0.02  # a smaller one, in standard deviations of the score, says nothing about the slope

Number = TypeVar("Number", Tensor, float)

__all__ = [
    "ROUNDS",
    "Goal",
    "example_goal",
    "expected_slope",
    "measured_strength",
    "picture_goal",
    "raw_value",
    "standard_deviation",
    "standard_value",
]


@dataclass(frozen=True)
class Goal:
    """The score that the batch shall reach, in standard deviations of the attribute over sampled pictures."""

    score: float
    origin: str


def measured_strength(
    generator: GanGenerator,
    direction: EditDirection,
    w: Tensor,  # [B, L, D]
    score: AttributeScore,
    strength: float = 1.0,
    goal: Goal | None = None,  # None: the example's edited picture
    rounds: int = ROUNDS,
    limit: float | None = None,  # largest |alpha|; None: no bound
    progress: Progress | None = None,  # counts pictures, ``(rounds + 1) * B`` in all
) -> EditStrength:
    """Correct the closed form ``rounds`` times; every picture keeps the best of the strengths it was measured with.

    Returns:
        The strengths, with a confidence per picture in 0..1: low where the score does not answer to the edit (the state
        is ill-defined for this picture), or is still off at the end, or the limit was in the way.

    Raises:
        InputError: as :func:`plan_strength`, and for a direction without example when no goal is given.
    """
    if rounds < 0:
        raise InputError(f"The corrections must be 0 or more; got {rounds}.")
    slope = expected_slope(generator, direction)
    if goal is None:
        value = standard_value(generator, direction, target_value(direction, strength))
        if direction.example is None:  # its state is known, its picture is not
            goal = Goal(value, "the direction's own state")
        else:
            goal = example_goal(generator, direction, score, strength)
    else:
        value = goal.score
    alpha = plan_strength(direction, w, target=raw_value(generator, direction, value), limit=limit).alpha
    # A reading is the score and, by the share which that leaves, what the normal says of the code.
    trust, start_values = score.trust, standard_value(generator, direction, attribute_values(direction, w))
    target = trust * goal.score + (1 - trust) * value
    slopes, confidence = torch.full_like(alpha, slope), torch.ones_like(alpha)
    best, best_error = alpha, torch.full_like(alpha, float("inf"))
    old_alpha = old_readings = None
    for k in range(rounds + 1):
        pictures = stage(progress, k * len(w), (rounds + 1) * len(w))
        readings = score.of_codes(generator, apply_edit(w, direction, alpha), pictures).to(alpha)
        if trust < 1:
            readings = trust * readings + (1 - trust) * (start_values + slope * alpha)
        residuals = target - readings
        improved = residuals.abs() < best_error
        best = torch.where(improved, alpha, best)
        best_error = torch.where(improved, residuals.abs(), best_error)
        if old_alpha is not None:
            slopes, confidence = _secant(slopes, slope, alpha - old_alpha, readings - old_readings)
        old_alpha, old_readings = alpha, readings
        alpha = alpha + residuals / slopes
        if limit is not None:
            alpha = alpha.clamp(-limit, limit)
    clamped = torch.zeros_like(best, dtype=torch.bool) if limit is None else best.abs() >= limit * (1 - 1e-6)
    confidence = confidence * torch.exp2(-(best_error / _HALF_CONFIDENCE).square())
    method = (
        f"same state, measured on pictures ({score.space.name}): goal {goal.score:+.2f} from {goal.origin}, "
        f"{rounds} correction{'s' * (rounds != 1)}, left {float(best_error.mean()):.3f}"
    )
    if limit is not None:
        method += f", limited to {limit:g}"
    return EditStrength(best, clamped, method, direction.family, confidence=confidence)


def example_goal(
    generator: GanGenerator, direction: EditDirection, score: AttributeScore, strength: float = 1.0
) -> Goal:
    """Return the score of the example at a slider: 1 its edited picture, 0 the picture before.

    Raises:
        InputError: the direction comes without an example.
    """
    if direction.example is None:
        raise InputError(
            f"The direction '{direction.name}' comes without an example's codes, so its edited picture cannot be "
            "measured. Give a reference or a target, or use the plain strength without a generator."
        )
    start, edited = direction.example.to(generator.device)
    code = start + strength * row_mask(direction.layers, start) * (edited - start)
    return Goal(float(score.of_codes(generator, code[None])[0]), "the example")


def picture_goal(score: AttributeScore, picture: Tensor) -> Goal:
    """Return the score of a reference picture [1, 3, H, W] in -1..1."""
    return Goal(float(score.of_pictures(picture)[0]), "the reference picture")


def expected_slope(generator: GanGenerator, direction: EditDirection) -> float:
    """Return by how many standard deviations over W one length of the direction moves its own attribute.

    Raises:
        InputError: it does not move it.
    """
    gain = float((direction.normal * direction.direction).sum())
    unit = standard_deviation(generator, direction)
    if abs(gain) < 1e-6 * unit:
        raise InputError(f"Moving along '{direction.name}' does not change its own attribute; fit the normal again.")
    return gain / unit


def standard_value(generator: GanGenerator, direction: EditDirection, value: Number) -> Number:
    """Convert values of v . w to standard deviations from the generator's average picture."""
    return (value - _average(generator, direction)) / standard_deviation(generator, direction)


def raw_value(generator: GanGenerator, direction: EditDirection, standard: float) -> float:
    """Convert standard deviations back to v . w: the inverse of :func:`standard_value`."""
    return _average(generator, direction) + standard * standard_deviation(generator, direction)


def standard_deviation(generator: GanGenerator, direction: EditDirection) -> float:
    """Return that of v . w over the generator's own codes."""
    v = direction.normal.sum(dim=0).to(generator.w_covariance)
    return float((v @ generator.w_covariance @ v).clamp(min=1e-30).sqrt())


def _secant(slopes: Tensor, expected: float, moves: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
    """Take the slopes [B] that the last moves [B] and changes of the score [B] showed, and how certain they are, [B].

    A picture that hardly moved keeps its slope and is certain; one that does not answer is not.
    """
    ratios = changes / torch.where(moves == 0, torch.ones_like(moves), moves) / expected
    moved = (moves * expected).abs() > _SMALLEST_MOVE
    slopes = torch.where(moved, ratios.clamp(*_SLOPES) * expected, slopes)
    return slopes, torch.where(moved, ratios.clamp(0, 1), torch.ones_like(ratios))


def _average(generator: GanGenerator, direction: EditDirection) -> float:
    """Return v . w of the mean of W."""
    return float((direction.normal.sum(dim=0) * generator.w_mean.to(direction.normal)).sum())
