"""From one example's edit to a direction for everyone: what moves, what measures, which measure to trust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.inference import no_inference_mode
from ..common.types import EditDirection
from .attribute_score import (
    MIXED,
    PAIRS,
    SAMPLES,
    AttributeScore,
    fit_score,
    regress_normal,
    sample_features,
    sample_w,
)
from .closed_form import SMALLEST_COSINE, apply_edit, plan_strength
from .directions import optimize_direction
from .example_edit import record_edit, row_mask
from .features import FeatureSpace, generator_space

EXAMPLE = "example"  # the variant without optimisation
NORMALS = ("automatic", "features", "as recorded", "direction")
_CHECKED = 32  # pictures that decide between two normals
_SMALLEST_R2 = 0.1  # of a score that W explains; below, what was learned is not about the generator's pictures
_SAME = 1e-4  # a normal that differs less from its direction, relatively, was not recorded apart from it

__all__ = ["EXAMPLE", "NORMALS", "learn_direction", "learn_normal", "has_own_normal", "pictures_needed"]


def pictures_needed(samples: int = SAMPLES) -> int:
    """Pictures that `learn_normal` looks at, at most: the total of its progress."""
    return samples + MIXED + 2 * PAIRS + 2 * _CHECKED


def learn_direction(
    generator: GanGenerator,
    edit: EditDirection,  # with the example's codes
    variant: str = EXAMPLE,  # or one of the published `directions.VARIANTS`
    normal: str = NORMALS[0],
    space: FeatureSpace | None = None,  # None: the generator's own features
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Callable[..., None] | None = None,  # (steps and pictures done, total, preview); may raise
    **settings: object,  # of `optimize_direction`
) -> EditDirection:
    """What moves everyone as the edit moved the example, and what measures it.

    "example" moves along the example's own change. On the demo generator nothing that was optimised spreads less
    (benchmarks/edit_one_for_all.py), and it costs nothing.

    Raises InputError for an edit without its example, and as `optimize_direction` and `learn_normal`.
    """
    if edit.example is None:
        raise InputError(
            f"The direction '{edit.name}' comes without an example's codes; connect an edit from Record Edit."
        )
    moves = 0

    def optimising(step: int, total: int, preview: Tensor | None = None) -> None:
        nonlocal moves
        moves = total
        if progress is not None:
            progress(step, preview=preview)

    if variant == EXAMPLE:
        direction = record_edit(generator, edit.example[0], edit.example[1], edit.layers, edit.name)
    else:
        start, edited = edit.example
        direction = optimize_direction(
            generator, start, edited, variant, edit.layers, seed=seed, name=edit.name, progress=optimising, **settings
        )

    def learning(seen: int, total: int) -> None:
        if progress is not None:
            progress(moves + seen)

    return learn_normal(
        generator, direction, edit, space or generator_space(generator), normal, samples, seed, learning
    )


def learn_normal(
    generator: GanGenerator,
    direction: EditDirection,  # what moves the pictures, with the example
    edit: EditDirection,  # what was done to the example
    space: FeatureSpace,
    normal: str = "automatic",
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Callable[..., None] | None = None,  # (pictures seen, total); may raise
) -> EditDirection:
    """`direction` with the normal that measures best what the edit changed, and a score of pictures.

    "direction" leaves it as it is. "as recorded" takes the edit's own normal, as Record Edit has it where the example
    was edited along a direction with a normal. "features" learns it from the edit alone (see attribute_score).
    "automatic" is "as recorded" where there is one; else "features", unless the direction itself brings sampled
    pictures closer together by the score, or the space does not see the edit.

    Raises InputError for an unknown choice, "as recorded" without such a normal, and "features" that see nothing.
    """
    if normal not in NORMALS:
        raise InputError(f"Unknown normal '{normal}'; expected one of {', '.join(NORMALS)}.")
    apart = has_own_normal(edit)
    if normal == "as recorded" and not apart:
        raise InputError(
            f"The edit '{edit.name}' was recorded without a normal of its own. Connect the attribute's direction to "
            "Record Edit, or choose 'automatic' or 'features'."
        )
    if normal == "direction":
        return direction
    total, seen = pictures_needed(samples), 0

    def told(count: int) -> None:
        nonlocal seen
        seen += count
        if progress is not None:
            progress(min(seen, total), total)

    with no_inference_mode():
        if apart and normal != "features":
            # No score: it would cost all the samples, and only corrections need one; they learn it from the normal.
            return _with(direction, edit.normal, None, f"normal as recorded ({edit.method})")
        try:
            found = sample_features(generator, space, samples, seed, told)
            score = fit_score(generator, edit.direction, found, PAIRS, seed, told)
            pulled = regress_normal(score, found, direction.layers)
            if pulled.r2 < _SMALLEST_R2:
                raise InputError(
                    f"What '{space.name}' sees of the edit '{edit.name}' cannot be told from codes "
                    f"(R2 {pulled.r2:.2f}). Choose other features, or the direction as its own normal."
                )
            if not _agrees(pulled.normal, direction.direction):
                raise InputError(
                    f"What was learned from '{space.name}' says that the edit '{edit.name}' lowers what it raises. "
                    "Take more samples, choose other features, or the direction as its own normal."
                )
        except InputError:
            if normal == "features":
                raise
            return replace(
                direction, method=f"{direction.method}; normal: the direction, features did not see the edit"
            )
        learned = _with(direction, pulled.normal, score, f"normal from {space.name}, R2 {pulled.r2:.2f}")
        if normal == "automatic" and _spread(generator, direction, score, seed, told) < _spread(
            generator, learned, score, seed, told
        ):
            how = f"{direction.method}; normal: the direction, by measurement in {space.name}"
            return replace(direction, score=score, method=how)
    return learned


def has_own_normal(edit: EditDirection) -> bool:
    """Whether an edit carries a normal that is not just its direction."""
    v, d = edit.normal.flatten(), edit.direction.flatten()
    return bool(torch.nn.functional.cosine_similarity(v, d, dim=0).abs() < 1 - _SAME)  # an inverted edit has -1


def _agrees(normal: Tensor, direction: Tensor) -> bool:
    """Whether moving along the direction raises what the normal measures, and by enough for strengths."""
    v, d = normal.to(direction).flatten(), direction.flatten()
    return float((v * d).sum()) >= SMALLEST_COSINE * float(v.norm() * d.norm())


def _with(direction: EditDirection, normal: Tensor, score: AttributeScore | None, how: str) -> EditDirection:
    """The direction with another normal; start and offset are the example's values along it."""
    normal = normal.to(direction.direction) * row_mask(direction.layers, direction.direction)
    start, offset = direction.start, direction.offset
    if direction.example is not None:
        start, offset = ((normal * code.to(normal)).sum().item() for code in direction.example)
    method = f"{direction.method}; {how}"
    return replace(direction, normal=normal, start=start, offset=offset, method=method, score=score)


def _spread(
    generator: GanGenerator, direction: EditDirection, score: AttributeScore, seed: int, told: Callable[[int], None]
) -> float:
    """How far apart, by the score, sampled pictures end that follow the example."""
    codes = sample_w(generator, _CHECKED, seed + 4)
    moved = apply_edit(codes, direction, plan_strength(direction, codes).alpha)
    return float(score.of_codes(generator, moved, told).std())
