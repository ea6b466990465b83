"""Every way to say where a batch shall go, in one call: the example, a number, a code or a picture; measured or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.inference import no_inference_mode
from ..common.types import EditDirection, EditStrength
from .attribute_score import AttributeScore, linear_probe, sample_features
from .closed_form import attribute_values, constant_strength, plan_strength
from .features import FeatureSpace
from .render_and_correct import Goal, measured_strength, picture_goal, raw_value

MODES = ("same state", "constant", "number")

__all__ = ["MODES", "Target", "attribute_score_for", "strengths_for"]


@dataclass(frozen=True, eq=False)
class Target:
    """Where to go instead of the example's state; at most one is given."""

    number: float | None = None  # in standard deviations of the attribute from the average picture
    code: Tensor | None = None  # [1, L, D]
    picture: Tensor | None = None  # [1, 3, H, W] in -1..1


def strengths_for(
    direction: EditDirection,
    w: Tensor,  # [B, L, D]
    mode: str = MODES[0],
    strength: float = 1.0,
    limit: float | None = None,
    target: Target = Target(),  # noqa: B008  (frozen)
    generator: GanGenerator | None = None,  # to measure with, and for numbers and pictures
    corrections: int = 0,
    space: Callable[[], FeatureSpace] | None = None,  # where pictures are read if the direction brings no score
    progress: Callable[..., None] | None = None,  # (done, total); may raise
) -> EditStrength:
    """The strength of each picture. Raises InputError as the functions it calls, and for a missing generator."""
    if mode not in MODES:
        raise InputError(f"Unknown mode '{mode}'; expected one of {', '.join(MODES)}.")
    if mode == "constant":
        return constant_strength(direction, w, strength, limit)
    measured = generator is not None and corrections > 0
    if generator is None and (target.number is not None or target.picture is not None):
        raise InputError("A number or a picture as the target needs the generator of the codes.")
    looks = target.picture is not None
    score = attribute_score_for(generator, direction, space, looks) if measured or looks else None
    goal = None
    if target.number is not None:
        goal = Goal(target.number, "the number given")
    elif target.picture is not None:
        goal = picture_goal(score, target.picture)
    elif target.code is not None:
        if measured:
            goal = Goal(float(score.of_codes(generator, target.code)[0]), "the reference code")
        else:
            value = float(attribute_values(direction, target.code)[0])
            return plan_strength(direction, w, strength, value, limit)
    if measured:
        return measured_strength(generator, direction, w, score, strength, goal, corrections, limit, progress)
    value = None if goal is None else raw_value(generator, direction, goal.score)
    return plan_strength(direction, w, strength, value, limit)


def attribute_score_for(
    generator: GanGenerator,
    direction: EditDirection,
    space: Callable[[], FeatureSpace] | None,
    looks: bool = False,  # whether it shall read pictures that have no code
) -> AttributeScore:
    """What measures the direction's attribute on pictures: what it carries, else its normal learned on features.

    What it carries may read codes alone; where a picture is to be read, the space goes before it if that one sees more.
    """
    own = direction.score if isinstance(direction.score, AttributeScore) else None
    if own is not None and (own.space.sees_pictures or not looks or space is None):
        return own
    if space is None:
        raise InputError(f"The direction '{direction.name}' carries no score of pictures; give a feature space.")
    chosen = space()
    if own is not None and not chosen.sees_pictures:
        return own
    with no_inference_mode():
        return linear_probe(sample_features(generator, chosen), direction.normal, direction.direction)
