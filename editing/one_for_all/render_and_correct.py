"""Strengths corrected by looking: render, measure with a score of pictures, adjust, for each picture by itself.

The closed form trusts that the attribute is linear in W. Where it is not, the pictures tell: each moves on by the score
it still lacks, divided by how its own score answered the last move. The goal is the score of the example's own edited
picture, so the batch also lands where the example is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.types import EditDirection, EditStrength
from .attribute_score import AttributeScore
from .closed_form import apply_edit, attribute_values, plan_strength, target_value
from .example_edit import row_mask

ROUNDS = 2
_SLOPES = (0.4, 2.5)  # a picture's own answer to a move is believed within these multiples of the expected one
_NEAR = 0.25  # standard deviations from the goal that halve no one's confidence, and twice that much does
_STILL = 0.02  # a smaller move, in standard deviations of the score, says nothing about the slope

__all__ = ["ROUNDS", "Goal", "example_goal", "expected_slope", "measured_strength", "picture_goal", "standard_value"]


@dataclass(frozen=True)
class Goal:
    """Where the batch shall land, in standard deviations of the attribute over sampled pictures."""

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
    limit: float | None = None,
    progress: Callable[..., None] | None = None,  # (pictures measured, total); may raise
) -> EditStrength:
    """The closed form, then ``rounds`` corrections; every picture keeps the best of the strengths it was seen with.

    The result says for each picture how certain its state is, 0..1: low where the score does not answer to the edit
    (the state is ill-defined for this picture), or is still off at the end, or the limit was in the way.

    Raises InputError as :func:`plan_strength`, and for a direction without example when no goal is given.
    """
    if rounds < 0:
        raise InputError(f"The corrections must be 0 or more; got {rounds}.")
    total, done = (rounds + 1) * len(w), 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(min(done, total), total)

    slope = expected_slope(generator, direction)
    if goal is None:
        goal = example_goal(generator, direction, score, strength)
        value = standard_value(generator, direction, target_value(direction, strength))
    else:
        value = goal.score
    alpha = plan_strength(direction, w, target=raw_value(generator, direction, value), limit=limit).alpha
    # What is read of a picture: its score and, by the share which that leaves, what the normal says of its code.
    trust, base = score.trust, standard_value(generator, direction, attribute_values(direction, w))
    wanted = trust * goal.score + (1 - trust) * value
    answer = torch.full_like(alpha, slope)
    best, error = alpha, torch.full_like(alpha, float("inf"))
    before: tuple[Tensor, Tensor] | None = None
    for _ in range(rounds + 1):
        seen = score.of_codes(generator, apply_edit(w, direction, alpha), told).to(alpha)
        if trust < 1:
            seen = trust * seen + (1 - trust) * (base + slope * alpha)
        missing = wanted - seen
        better = missing.abs() < error
        best, error = torch.where(better, alpha, best), torch.where(better, missing.abs(), error)
        if before is not None:
            moved = alpha - before[0]
            own = (seen - before[1]) / torch.where(moved == 0, torch.ones_like(moved), moved)
            bounded = (own / slope).clamp(*_SLOPES) * slope
            answer = torch.where((moved * slope).abs() > _STILL, bounded, answer)
            silent = (own / slope).clamp(0, 1)
            certain = torch.where((moved * slope).abs() > _STILL, silent, torch.ones_like(silent))
        else:
            certain = torch.ones_like(alpha)
        before = (alpha, seen)
        alpha = alpha + missing / answer
        if limit is not None:
            alpha = alpha.clamp(-limit, limit)
    clamped = torch.zeros_like(best, dtype=torch.bool) if limit is None else best.abs() >= limit * (1 - 1e-6)
    certain = certain * torch.exp2(-(error / (2 * _NEAR)).square())
    return EditStrength(
        best,
        clamped,
        f"same state, measured on pictures ({score.space.name}): goal {goal.score:+.2f} from {goal.origin}, "
        f"{rounds} correction{'s' * (rounds != 1)}, left {float(error.mean()):.3f}"
        + ("" if limit is None else f", limited to {limit:g}"),
        direction.family,
        confidence=certain,
    )


def example_goal(
    generator: GanGenerator, direction: EditDirection, score: AttributeScore, strength: float = 1.0
) -> Goal:
    """The score of the example at a slider: 1 its edited picture, 0 the picture before."""
    if direction.example is None:
        raise InputError(
            f"The direction '{direction.name}' comes without an example's codes, so its edited picture cannot be "
            "measured. Give a reference or a target, or use the plain strength without a generator."
        )
    start, edited = direction.example.to(generator.device)
    inside = row_mask(direction.layers, start)
    code = start + strength * inside * (edited - start)
    return Goal(float(score.of_codes(generator, code[None])[0]), "the example")


def picture_goal(score: AttributeScore, picture: Tensor) -> Goal:
    """The score of a reference picture [1, 3, H, W] in -1..1."""
    return Goal(float(score.of_pictures(picture)[0]), "the reference picture")


def expected_slope(generator: GanGenerator, direction: EditDirection) -> float:
    """By how many standard deviations over W one length of the direction moves its own attribute."""
    gain = float((direction.normal * direction.direction).sum())
    unit = standard_deviation(generator, direction)
    if abs(gain) < 1e-6 * unit:
        raise InputError(f"Moving along '{direction.name}' does not change its own attribute; fit the normal again.")
    return gain / unit


def standard_value(generator: GanGenerator, direction: EditDirection, value: Tensor | float) -> Any:
    """A value of v . w, or several, in standard deviations from the generator's average picture."""
    return (value - _average(generator, direction)) / standard_deviation(generator, direction)


def raw_value(generator: GanGenerator, direction: EditDirection, standard: float) -> float:
    """The inverse of :func:`standard_value`."""
    return _average(generator, direction) + standard * standard_deviation(generator, direction)


def standard_deviation(generator: GanGenerator, direction: EditDirection) -> float:
    """Of v . w over the generator's own codes."""
    v = direction.normal.sum(dim=0).to(generator.w_covariance)
    return float((v @ generator.w_covariance @ v).clamp(min=1e-30).sqrt())


def _average(generator: GanGenerator, direction: EditDirection) -> float:
    return float((direction.normal.sum(dim=0) * generator.w_mean.to(direction.normal)).sum())
