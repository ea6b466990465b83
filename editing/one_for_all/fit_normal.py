"""Fit a direction and its normal for everyone from one example's edit: what moves, what measures, which to trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.inference import no_inference_mode
from ..common.progress import Progress, stage
from ..common.types import EditDirection
from .attribute_score import (
    MIXED,
    PAIRS,
    SAMPLES,
    AttributeScore,
    NormalFit,
    fit_score,
    regress_normal,
    sample_features,
    sample_w,
)
from .closed_form import SMALLEST_COSINE, apply_edit, plan_strength
from .directions import VARIANTS, optimize_direction
from .example_edit import record_edit, row_mask
from .features import FeatureSpace, generator_space

EXAMPLE = "example"  # the variant without optimisation
NORMALS = ("automatic", "features", "as recorded", "direction")
_COMPARED = 32  # pictures that decide between two normals
_SMALLEST_R2 = 0.1  # of a score that W explains; below, what was learned is not about the generator's pictures
_SAME = 1e-4  # a normal that differs less from its direction, relatively, was not recorded apart from it

__all__ = ["EXAMPLE", "NORMALS", "has_own_normal", "learn_direction", "learn_normal", "pictures_needed"]


def pictures_needed(samples: int = SAMPLES) -> int:
    """Return how many pictures `learn_normal` reads at most: the total of its progress."""
    return samples + MIXED + 2 * PAIRS + 2 * _COMPARED


def learn_direction(
    generator: GanGenerator,
    edit: EditDirection,  # with the example's codes
    variant: str = EXAMPLE,  # or one of the published `directions.VARIANTS`
    normal: str = NORMALS[0],
    space: FeatureSpace | None = None,  # None: the generator's own features
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,  # counts steps of the optimisation, then pictures
    steps: int | None = None,  # of the optimisation; None: the published number
    layers: Sequence[int] | None = None,  # rows of W+ that move; None: the edit's own
    **settings: object,  # others of `optimize_direction`
) -> EditDirection:
    """Learn what moves everyone as the edit moved the example, and what measures it.

    "example" moves along the example's own change. On the demo generator nothing that was optimised spreads less
    (benchmarks/edit_one_for_all.py), and it costs nothing.

    Raises:
        InputError: an edit without its example, an unknown variant, or as `optimize_direction` and `learn_normal`.
    """
    if edit.example is None:
        raise InputError(
            f"The direction '{edit.name}' comes without an example's codes; connect an edit from Record Edit."
        )
    check_choice("variant", variant, (*VARIANTS, EXAMPLE))
    steps = 0 if variant == EXAMPLE else steps or VARIANTS[variant].steps
    total = steps + (0 if normal == "direction" else pictures_needed(samples))
    start, edited = edit.example
    if variant == EXAMPLE:
        direction = record_edit(generator, start, edited, layers or edit.layers, edit.name)
    else:
        optimising = stage(progress, 0, total)
        direction = optimize_direction(
            generator, start, edited, variant, layers or edit.layers, steps, seed=seed, name=edit.name,
            progress=optimising, **settings,
        )  # fmt: skip
    space = space or generator_space(generator)
    return learn_normal(generator, direction, edit, space, normal, samples, seed, stage(progress, steps, total))


def learn_normal(
    generator: GanGenerator,
    direction: EditDirection,  # what moves the pictures, with the example
    edit: EditDirection,  # what was done to the example
    space: FeatureSpace,
    normal: str = "automatic",
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,  # counts pictures, at most `pictures_needed`
) -> EditDirection:
    """Give `direction` the normal that measures best what the edit changed, and a score of pictures.

    "direction" leaves it as it is. "as recorded" takes the edit's own normal, as Record Edit has it where the example
    was edited along a direction with a normal. "features" learns it from the edit alone (see attribute_score).
    "automatic" is "as recorded" where there is one; else "features", unless the direction itself brings sampled
    pictures closer together by the score, or the space does not see the edit.

    Raises:
        InputError: an unknown choice, "as recorded" without such a normal, or "features" that see nothing.
    """
    check_choice("normal", normal, NORMALS)
    recorded = has_own_normal(edit)
    if normal == "as recorded" and not recorded:
        raise InputError(
            f"The edit '{edit.name}' was recorded without a normal of its own. Connect the attribute's direction to "
            "Record Edit, or choose 'automatic' or 'features'."
        )
    if normal == "direction":
        return direction
    total = pictures_needed(samples)
    with no_inference_mode():
        if recorded and normal != "features":
            # No score: it would cost all the samples, and only corrections need one; they learn it from the normal.
            return _with_normal(direction, edit.normal, None, f"normal as recorded ({edit.method})")
        try:
            score, fit = _fit_from_features(generator, direction, edit, space, samples, seed, progress)
        except InputError:
            if normal == "features":
                raise
            return replace(
                direction, method=f"{direction.method}; normal: the direction, features did not see the edit"
            )
        learned = _with_normal(direction, fit.normal, score, f"normal from {space.name}, R2 {fit.r2:.2f}")
        if normal == "features":
            return learned
        spread, learned_spread = (
            _landing_spread(generator, candidate, score, seed, stage(progress, total - pictures, total))
            for candidate, pictures in ((direction, 2 * _COMPARED), (learned, _COMPARED))
        )
        if spread < learned_spread:
            method = f"{direction.method}; normal: the direction, by measurement in {space.name}"
            return replace(direction, score=score, method=method)
    return learned


def has_own_normal(edit: EditDirection) -> bool:
    """Tell an edit that carries a normal of its own from one whose normal is its direction."""
    v, d = edit.normal.flatten(), edit.direction.flatten()
    return bool(torch.nn.functional.cosine_similarity(v, d, dim=0).abs() < 1 - _SAME)  # an inverted edit has -1


def _fit_from_features(
    generator: GanGenerator,
    direction: EditDirection,
    edit: EditDirection,
    space: FeatureSpace,
    samples: int,
    seed: int,
    progress: Progress | None,
) -> tuple[AttributeScore, NormalFit]:
    """Learn the score of the edit and the normal of that score.

    Raises:
        InputError: the space does not see the edit, codes do not explain it, or the normal points the wrong way.
    """
    total, read = pictures_needed(samples), samples + MIXED
    drawn = sample_features(generator, space, samples, seed, stage(progress, 0, total))
    score = fit_score(generator, edit.direction, drawn, PAIRS, seed, stage(progress, read, total))
    fit = regress_normal(score, drawn, direction.layers)
    if fit.r2 < _SMALLEST_R2:
        raise InputError(
            f"What '{space.name}' sees of the edit '{edit.name}' cannot be told from codes "
            f"(R2 {fit.r2:.2f}). Choose other features, or the direction as its own normal."
        )
    if not _agrees(fit.normal, direction.direction):
        raise InputError(
            f"What was learned from '{space.name}' says that the edit '{edit.name}' lowers what it raises. "
            "Take more samples, choose other features, or the direction as its own normal."
        )
    return score, fit


def _agrees(normal: Tensor, direction: Tensor) -> bool:
    """Test that moving along the direction raises what the normal measures, and by enough for strengths."""
    v, d = normal.to(direction).flatten(), direction.flatten()
    return float((v * d).sum()) >= SMALLEST_COSINE * float(v.norm() * d.norm())


def _with_normal(direction: EditDirection, normal: Tensor, score: AttributeScore | None, origin: str) -> EditDirection:
    """Return the direction with another normal [L, D]; start and offset are the example's values along it."""
    normal = normal.to(direction.direction) * row_mask(direction.layers, direction.direction)
    start, offset = direction.start, direction.offset
    if direction.example is not None:
        start, offset = ((normal * code.to(normal)).sum().item() for code in direction.example)
    method = f"{direction.method}; {origin}"
    return replace(direction, normal=normal, start=start, offset=offset, method=method, score=score)


def _landing_spread(
    generator: GanGenerator, direction: EditDirection, score: AttributeScore, seed: int, progress: Progress
) -> float:
    """Return the standard deviation, by the score, of where sampled pictures end that follow the example."""
    codes = sample_w(generator, _COMPARED, seed + 4)
    moved = apply_edit(codes, direction, plan_strength(direction, codes).alpha)
    return float(score.of_codes(generator, moved, progress).std())
