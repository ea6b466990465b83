"""Directions from codes that somebody scored, sorted into two groups, or edited already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.fit import HELD_OUT, fit_attribute
from ..common.types import EditDirection, GanLatent, check_family, check_rows
from .example_edit import edited_rows, row_mask

__all__ = ["FitReport", "direction_from_codes", "fit_direction", "fit_groups", "read_scores"]

# Shares of the mean variance that the ridge may be; the samples choose.
_RIDGES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)
FEWEST = 10
_POOR_R2 = 0.3


@dataclass(frozen=True)
class FitReport:
    """How well the codes tell the score. r2: share of held-out scores that the normal explains; value: v . w."""

    count: int
    r2: float
    ridge: float
    intercept: float  # score = v . w + intercept
    mean: float
    deviation: float

    def __str__(self) -> str:
        lines = [
            f"{self.count} samples, score {self.mean:.4g} on average, standard deviation {self.deviation:.4g}",
            f"a linear guess from the codes explains {self.r2:.1%} of the held-out scores (R2 {self.r2:.3f}), "
            f"ridge {self.ridge:g}",
            f"value of a code (v . w) = score {-self.intercept:+.4g}",
        ]
        if self.r2 < _POOR_R2:
            lines.append(
                "That is little: the normal hardly measures the score. Score more samples (a few hundred are a good "
                "start), or choose other rows."
            )
        return "\n".join(lines)


def fit_direction(
    latents: GanLatent,
    scores: Tensor,  # [B]
    rows: Sequence[int] | None = None,  # None: all
    name: str = "edit",
) -> tuple[EditDirection, FitReport]:
    """A direction of one standard deviation of the score, with the regressed normal, whose value is the score.

    Codes count by the mean of their rows; of W, all rows are alike. State 0 is the mean score, state 1 one standard
    deviation above it. The held-out samples are drawn with a fixed seed.

    Raises InputError for fewer than ten samples, another number of scores, and scores that are all the same.
    """
    rows = check_rows(range(latents.num_layers) if rows is None else rows, latents.num_layers, "A latent")
    x, y = latents.codes[:, list(rows)].cpu().double().mean(dim=1), scores.cpu().double()
    if y.ndim != 1 or len(y) != len(x):
        raise InputError(f"There are {len(x)} codes and scores of shape {list(y.shape)}; one score per code is needed.")
    if len(x) < FEWEST:
        raise InputError(
            f"{len(x)} scored samples are too few to fit a direction; take at least {FEWEST}, or hundreds."
        )
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    kept = y[order][: len(x) - max(1, int(HELD_OUT * len(x)))]
    if len(y.unique()) > 1 and len(kept.unique()) == 1:
        order = order.flip(0)  # a group of one or two was held out whole, and nothing would be left to learn
    ridge = _best_ridge(x[order], y[order])
    fitted = fit_attribute(x[order], y[order], ridge=ridge)
    deviation = float(y.std())
    start = float(y.mean()) - fitted.intercept
    edit = _broadcast(
        latents, rows, fitted.direction, fitted.normal / len(rows), (start, start + deviation), "regression", name
    )
    return edit, FitReport(len(x), fitted.r2, ridge, fitted.intercept, float(y.mean()), deviation)


def fit_groups(
    positives: GanLatent, negatives: GanLatent, rows: Sequence[int] | None = None, name: str = "edit"
) -> tuple[EditDirection, FitReport]:
    """The same from two groups: scores 1 and 0. State 0 is the negatives' mean, state 1 the positives'."""
    _check_pair(positives, negatives, "The positives", "the negatives")
    both = GanLatent(torch.cat([positives.codes, negatives.codes.to(positives.codes)]), family=positives.family)
    scores = torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))])
    edit, report = fit_direction(both, scores, rows, name)
    means = [latent.codes.cpu().double().mean(dim=0).to(edit.direction) for latent in (negatives, positives)]
    inside = row_mask(edit.layers, edit.direction)
    start, offset = (float((edit.normal * code).sum()) for code in means)
    step = (means[1] - means[0]) * inside
    made = EditDirection(
        step, edit.normal, edit.layers, start, offset, "regression of two groups", edit.family, edit.name
    )
    return made, report


def direction_from_codes(
    before: GanLatent,
    after: GanLatent,
    rows: Sequence[int] | None = None,  # None: those that changed
    name: str = "edit",
) -> tuple[EditDirection, str]:
    """The difference of two codes, of the means of two groups, or of pairs, as an edit that is its own normal.

    The means serve as the example, so Optimize Direction can start from it. Returns the edit and a report; of equally
    many codes on both sides it tells how alike the differences of the pairs are.
    """
    _check_pair(before, after, "The codes before", "the codes after")
    start, end = (latent.codes.cpu().double().mean(dim=0) for latent in (before, after))
    start, end = start.to(before.codes), end.to(before.codes)
    difference = end - start
    chosen = edited_rows(difference, rows)
    d = difference * row_mask(chosen, difference)
    edit = EditDirection(
        d,
        d,
        chosen,
        float((d * start).sum()),
        float((d * end).sum()),
        "difference" if len(before) == len(after) == 1 else "difference of means",
        before.family or after.family,
        name,
        torch.stack([start, end]),
    )
    report = f"{len(before)} codes before, {len(after)} after; rows {chosen[0]} to {chosen[-1]}, length {d.norm():.4g}"
    if len(before) == len(after) > 1:
        report += "\n" + _agreement(before, after, chosen)
    return edit, report


def read_scores(given: Sequence[float | str] | float | str, attribute: str, count: int) -> Tensor:
    """Scores [B] from a list of numbers, numbers as text, a JSON list, or a JSON table of attributes.

    Raises InputError when nothing of that can be read, the attribute is not in the table, or their number is another.
    """
    values = [given] if isinstance(given, str | int | float) else list(given)
    if len(values) == 1 and isinstance(values[0], str):
        values = _from_text(values[0], attribute)
    try:
        numbers = torch.tensor([float(value) for value in values], dtype=torch.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            "The scores are not all numbers; give one number per picture, a JSON list, or a table from Measure "
            "Portraits together with the attribute's name."
        ) from None
    if len(numbers) != count:
        raise InputError(
            f"There are {len(numbers)} scores for {count} codes; score exactly the pictures of these codes."
        )
    if not bool(torch.isfinite(numbers).all()):
        raise InputError("The scores contain infinite values or no numbers; leave those pictures out.")
    return numbers


def _from_text(text: str, attribute: str) -> list:
    text = text.strip()
    if not text.startswith(("{", "[")):
        return text.replace(",", " ").replace(";", " ").split()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(
            "The scores look like JSON, but cannot be read; connect Measure Portraits or a list."
        ) from None
    if isinstance(content, list):
        return content
    names = ", ".join(list(map(str, content))[:20])
    if not attribute:
        raise InputError(f"The scores are a table of several attributes; say which one: {names}.")
    column = content.get(attribute)
    if not isinstance(column, list):
        raise InputError(f"'{attribute}' is not in the table of scores; available: {names}.")
    return column


def _best_ridge(x: Tensor, y: Tensor) -> float:
    """The ridge with the smallest leave-one-out error, in closed form: each residual over 1 minus its leverage."""
    centred, deviation = x - x.mean(dim=0), y - y.mean()
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    scale, count = float(values.square().sum()) / (len(x) * x.shape[1]), len(x)
    if scale == 0:
        raise InputError("All codes are the same; there is nothing to fit.")
    errors = []
    for ridge in _RIDGES:
        kept = values.square() / (values.square() + count * ridge * scale)
        guess = left @ (kept * (left.t() @ deviation))
        leverage = (left.square() * kept).sum(dim=1) + 1 / count  # the mean is fitted too
        errors.append(float(((deviation - guess) / (1 - leverage).clamp(min=1e-6)).square().sum()))
    return _RIDGES[errors.index(min(errors))]


def _broadcast(
    latents: GanLatent,
    rows: tuple[int, ...],
    direction: Tensor,  # [D]
    normal: Tensor,  # [D]
    states: tuple[float, float],
    method: str,
    name: str,
) -> EditDirection:
    shape = (latents.num_layers, latents.w_dim)
    d, v = (part.to(latents.codes).expand(shape).contiguous() for part in (direction, normal))
    return EditDirection(d, v, rows, *states, method, latents.family, name)


def _check_pair(a: GanLatent, b: GanLatent, what_a: str, what_b: str) -> None:
    check_family(a.family, b.family, what_a, what_b)
    if a.codes.shape[1:] != b.codes.shape[1:]:
        raise InputError(
            f"{what_a} have the shape {list(a.codes.shape[1:])} and {what_b} {list(b.codes.shape[1:])} (rows, width): "
            "they were made with different generators."
        )


def _agreement(before: GanLatent, after: GanLatent, rows: tuple[int, ...]) -> str:
    steps = (after.codes.to(before.codes) - before.codes)[:, list(rows)].flatten(1)
    mean = steps.mean(dim=0)
    cosines = torch.nn.functional.cosine_similarity(steps, mean[None])
    return (
        f"as pairs, the differences agree with their mean by a cosine of {float(cosines.mean()):.2f} "
        f"(least {float(cosines.min()):.2f}; 1 is the same edit in all)"
    )
