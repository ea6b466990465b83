"""Strength modes: where a batch shall go, by the example, a number, a code or a picture; closed form or measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.inference import no_inference_mode
from ..common.progress import Progress
from ..common.types import EditDirection, EditStrength
from .attribute_score import AttributeScore, linear_probe, sample_features
from .closed_form import attribute_values, constant_strength, plan_strength
from .features import FeatureSpace
from .render_and_correct import Goal, measured_strength, picture_goal, raw_value

MODES = ("same state", "constant", "number")

__all__ = ["MODES", "Target", "attribute_score_for", "strengths_for"]


@dataclass(frozen=True, eq=False)
class Target:
    """The state to reach instead of the example's; at most one field is given."""

    number: float | None = None  # in standard deviations of the attribute from the average picture
    code: Tensor | None = None  # [1, L, D]
    picture: Tensor | None = None  # [1, 3, H, W] in -1..1


def strengths_for(
    direction: EditDirection,
    w: Tensor,  # [B, L, D]
    mode: str = MODES[0],
    strength: float = 1.0,
    limit: float | None = None,  # largest |alpha|; None: no bound
    target: Target = Target(),  # noqa: B008  (frozen)
    generator: GanGenerator | None = None,  # to measure with, and for numbers and pictures
    corrections: int = 0,
    space: Callable[[], FeatureSpace] | None = None,  # where pictures are read if the direction brings no score
    progress: Progress | None = None,  # counts the pictures that a score is learned on, then measured ones
) -> EditStrength:
    """Compute the strength of each picture.

    Raises:
        InputError: an unknown mode, a generator that is missing, or as the functions it calls.
    """
    check_choice("mode", mode, MODES)
    if mode == "constant":
        return constant_strength(direction, w, strength, limit)
    measured = generator is not None and corrections > 0
    if generator is None and (target.number is not None or target.picture is not None):
        raise InputError("A number or a picture as the target needs the generator of the codes.")
    reads_pictures = target.picture is not None
    score = None
    if measured or reads_pictures:
        score = attribute_score_for(generator, direction, space, reads_pictures, progress)
    if target.code is not None and not measured and target.number is None and not reads_pictures:
        value = float(attribute_values(direction, target.code)[0])
        return plan_strength(direction, w, strength, value, limit)
    goal = _goal(target, generator, score)
    if measured:
        return measured_strength(generator, direction, w, score, strength, goal, corrections, limit, progress)
    value = None if goal is None else raw_value(generator, direction, goal.score)
    return plan_strength(direction, w, strength, value, limit)


def attribute_score_for(
    generator: GanGenerator,
    direction: EditDirection,
    space: Callable[[], FeatureSpace] | None,
    reads_pictures: bool = False,  # it shall read pictures that have no code
    progress: Progress | None = None,  # counts the pictures that a score is learned on
) -> AttributeScore:
    """Return what measures the direction's attribute: the score it carries, else its normal learned on features.

    A carried score may read codes alone; where a picture is to be read, the space goes before it if that one sees more.

    Raises:
        InputError: the direction carries no score, and there is no space to learn one in.
    """
    carried = direction.score if isinstance(direction.score, AttributeScore) else None
    if carried is not None and (carried.space.sees_pictures or not reads_pictures or space is None):
        return carried
    if space is None:
        raise InputError(f"The direction '{direction.name}' carries no score of pictures; give a feature space.")
    feature_space = space()
    if carried is not None and not feature_space.sees_pictures:
        return carried
    with no_inference_mode():
        samples = sample_features(generator, feature_space, progress=progress)
        return linear_probe(samples, direction.normal, direction.direction)


def _goal(target: Target, generator: GanGenerator | None, score: AttributeScore | None) -> Goal | None:
    """Return the target as a score; None for the example's own."""
    if target.number is not None:
        return Goal(target.number, "the number given")
    if target.picture is not None:
        return picture_goal(score, target.picture)
    if target.code is not None:
        return Goal(float(score.of_codes(generator, target.code)[0]), "the reference code")
    return None
