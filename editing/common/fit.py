"""Attribute regression on scored samples: the direction that moves an attribute, and the normal that measures it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError

HELD_OUT = 0.2
_RIDGE = 1e-3  # of the mean variance: keeps dimensions that hardly vary from deciding anything


@dataclass(frozen=True, eq=False)
class FittedAttribute:
    """A direction and a normal of W.

    Args:
        direction: [D], the mean change of w when the score rises by one standard deviation.
        normal: [D], v with v . w + intercept as the best linear guess of the score.
        r2: share of the held-out score's variance that this guess explains.
    """

    direction: Tensor
    normal: Tensor
    intercept: float
    r2: float


def fit_attribute(
    codes: Tensor,  # [N, D]: one row per sample
    scores: Tensor,  # [N]: any measured attribute
    held_out: float = HELD_OUT,  # share of the samples, the last ones, that only judge the fit
    ridge: float = _RIDGE,  # of the mean variance; more where samples are few
) -> FittedAttribute:
    """Regress the score on w by ridge regression for the normal, and w on the score for the direction.

    The two differ wherever attributes are entangled: the normal answers "how much of it does w have", the direction
    "how do codes with more of it look".

    Raises:
        InputError: shapes that do not match, too few samples, values that are not finite, or scores that are all alike.
    """
    if codes.ndim != 2 or scores.ndim != 1 or codes.shape[0] != scores.shape[0]:
        raise InputError(f"Codes [N, D] need one score each; got {tuple(codes.shape)} and {tuple(scores.shape)}.")
    count = codes.shape[0]
    training = count - max(1, int(held_out * count))
    if training < 8:
        raise InputError(f"{count} samples are too few to fit an attribute; take a few hundred.")
    x, y = codes.double(), scores.double()
    if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise InputError("The codes and scores to fit must be finite numbers.")
    mean_x, mean_y = x[:training].mean(dim=0), y[:training].mean()
    centred, deviation = x[:training] - mean_x, y[:training] - mean_y
    spread = float(deviation.std())
    if spread < 1e-9:
        raise InputError("All samples have the same score; there is nothing to fit.")
    covariance = centred.t() @ centred / training
    damping = ridge * covariance.diagonal().mean() * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    cross_covariance = centred.t() @ deviation / training
    normal = torch.linalg.solve(covariance + damping, cross_covariance)
    direction = cross_covariance / spread
    intercept = float(mean_y - mean_x @ normal)
    prediction, truth = x[training:] @ normal + intercept, y[training:]
    # Where all that was held out has one score, the guess to be better than is the training's mean.
    baseline = truth.mean() if float(truth.max() - truth.min()) > 1e-9 else mean_y
    error = (prediction - truth).square().sum() / (truth - baseline).square().sum().clamp(min=1e-12)
    return FittedAttribute(direction.to(codes), normal.to(codes), intercept, float(1 - error))
