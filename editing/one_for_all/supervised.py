"""Supervised directions: from codes that somebody scored, sorted into two groups, or edited already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from ...models.errors import InputError
from ..common.fit import HELD_OUT, fit_attribute
from ..common.types import EditDirection, GanLatent, check_family, check_rows
from .example_edit import edited_rows, row_mask
from .ridge_regression import RIDGES

__all__ = ["FitReport", "direction_from_codes", "fit_direction", "fit_groups", "read_scores"]

MIN_SAMPLES = 10  # samples
_POOR_R2 = 0.3


@dataclass(frozen=True)
class FitReport:
    """The quality of a fit of scores on codes."""

    count: int  # samples
    r2: float  # share of the held-out scores' variance that the normal explains
    ridge: float  # in units of the mean variance of an entry of w
    intercept: float  # score = v . w + intercept
    mean: float  # of the scores
    deviation: float  # of the scores

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
    """Regress the score on the codes: a direction of one standard deviation, and a normal whose value is the score.

    Codes count by the mean of their rows; of W, all rows are alike. State 0 is the mean score, state 1 one standard
    deviation above it. The held-out samples are drawn with a fixed seed.

    Raises:
        InputError: fewer than ten samples, another number of scores, or scores that are all the same.
    """
    rows = check_rows(range(latents.num_layers) if rows is None else rows, latents.num_layers, "A latent")
    x, y = latents.codes[:, list(rows)].cpu().double().mean(dim=1), scores.cpu().double()
    if y.ndim != 1 or len(y) != len(x):
        raise InputError(f"There are {len(x)} codes and scores of shape {list(y.shape)}; one score per code is needed.")
    if len(x) < MIN_SAMPLES:
        raise InputError(
            f"{len(x)} scored samples are too few to fit a direction; take at least {MIN_SAMPLES}, or hundreds."
        )
    order = _fit_order(y)
    ridge = _best_ridge(x[order], y[order])
    fitted = fit_attribute(x[order], y[order], ridge=ridge)
    deviation = float(y.std())
    start = float(y.mean()) - fitted.intercept
    direction, normal = (
        repeat(vector, "d -> l d", l=latents.num_layers).to(latents.codes).contiguous()
        for vector in (fitted.direction, fitted.normal / len(rows))
    )
    edit = EditDirection(direction, normal, rows, start, start + deviation, "regression", latents.family, name)
    return edit, FitReport(len(x), fitted.r2, ridge, fitted.intercept, float(y.mean()), deviation)


def fit_groups(
    positives: GanLatent, negatives: GanLatent, rows: Sequence[int] | None = None, name: str = "edit"
) -> tuple[EditDirection, FitReport]:
    """Fit as :func:`fit_direction` with scores 1 and 0; state 0 is the negatives' mean, state 1 the positives'.

    Raises:
        InputError: as :func:`fit_direction`, and for groups of different families or shapes.
    """
    _check_pair(positives, negatives, "The positives", "the negatives")
    latents = GanLatent(torch.cat([positives.codes, negatives.codes.to(positives.codes)]), family=positives.family)
    scores = torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))])
    edit, report = fit_direction(latents, scores, rows, name)
    means = [latent.codes.cpu().double().mean(dim=0).to(edit.direction) for latent in (negatives, positives)]
    start, offset = (float((edit.normal * code).sum()) for code in means)
    direction = (means[1] - means[0]) * row_mask(edit.layers, edit.direction)
    method = "regression of two groups"
    return EditDirection(direction, edit.normal, edit.layers, start, offset, method, edit.family, edit.name), report


def direction_from_codes(
    before: GanLatent,
    after: GanLatent,
    rows: Sequence[int] | None = None,  # None: those that changed
    name: str = "edit",
) -> tuple[EditDirection, str]:
    """Take the difference of two codes, of the means of two groups, or of pairs, as an edit that is its own normal.

    The means serve as the example, so Optimize Direction can start from it.

    Returns:
        The edit and a report; of equally many codes in both groups it tells how alike the differences of the pairs are.

    Raises:
        InputError: groups of different families or shapes, rows that do not exist, or no difference.
    """
    _check_pair(before, after, "The codes before", "the codes after")
    start, end = (latent.codes.cpu().double().mean(dim=0) for latent in (before, after))
    start, end = start.to(before.codes), end.to(before.codes)
    difference = end - start
    rows = edited_rows(difference, rows)
    d = difference * row_mask(rows, difference)
    edit = EditDirection(
        d,
        d,
        rows,
        float((d * start).sum()),
        float((d * end).sum()),
        "difference" if len(before) == len(after) == 1 else "difference of means",
        before.family or after.family,
        name,
        torch.stack([start, end]),
    )
    report = f"{len(before)} codes before, {len(after)} after; rows {rows[0]} to {rows[-1]}, length {d.norm():.4g}"
    if len(before) == len(after) > 1:
        report += "\n" + _agreement(before, after, rows)
    return edit, report


def read_scores(scores: Sequence[float | str] | float | str, attribute: str, count: int) -> Tensor:
    """Read scores [B], float64, from a list of numbers, numbers as text, a JSON list, or a JSON table of attributes.

    Args:
        attribute: the column of a table.
        count: B.

    Raises:
        InputError: nothing of that can be read, the attribute is not in the table, or their number is another.
    """
    values = [scores] if isinstance(scores, str | int | float) else list(scores)
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


def _fit_order(scores: Tensor) -> Tensor:
    """Shuffle the samples [B] so that those held out, the last ones, are not all there is of a group."""
    count = len(scores)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    training = scores[order][: count - max(1, int(HELD_OUT * count))]
    if len(scores.unique()) > 1 and len(training.unique()) == 1:
        return order.flip(0)  # a group of one or two was held out, and nothing would be left to learn
    return order


def _from_text(text: str, attribute: str) -> list:
    """Parse numbers, a JSON list, or a column of a JSON table."""
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
    """Choose the ridge with the smallest leave-one-out error, in closed form: residuals over 1 minus the leverage.

    The ridge is in units of the mean variance of an entry of x [B, D]; y is [B].
    """
    centred, deviations = x - x.mean(dim=0), y - y.mean()
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    scale, count = float(values.square().sum()) / (len(x) * x.shape[1]), len(x)
    if scale == 0:
        raise InputError("All codes are the same; there is nothing to fit.")
    errors = []
    for ridge in RIDGES:
        shrinkage = values.square() / (values.square() + count * ridge * scale)
        guess = left @ (shrinkage * (left.t() @ deviations))
        leverage = (left.square() * shrinkage).sum(dim=1) + 1 / count  # the mean is fitted too
        errors.append(float(((deviations - guess) / (1 - leverage).clamp(min=1e-6)).square().sum()))
    return RIDGES[errors.index(min(errors))]


def _check_pair(a: GanLatent, b: GanLatent, name_a: str, name_b: str) -> None:
    check_family(a.family, b.family, name_a, name_b)
    if a.codes.shape[1:] != b.codes.shape[1:]:
        raise InputError(
            f"{name_a} have the shape {list(a.codes.shape[1:])} and {name_b} {list(b.codes.shape[1:])} (rows, width): "
            "they were made with different generators."
        )


def _agreement(before: GanLatent, after: GanLatent, rows: tuple[int, ...]) -> str:
    """Report how alike the differences of the pairs are."""
    differences = rearrange((after.codes.to(before.codes) - before.codes)[:, list(rows)], "b l d -> b (l d)")
    cosines = F.cosine_similarity(differences, differences.mean(dim=0)[None])
    return (
        f"as pairs, the differences agree with their mean by a cosine of {float(cosines.mean()):.2f} "
        f"(least {float(cosines.min()):.2f}; 1 is the same edit in all)"
    )
