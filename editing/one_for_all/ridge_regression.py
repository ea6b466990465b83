"""Ridge regression with one decomposition for every ridge, judged on samples that took no part in the fit."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["RIDGES", "USUAL_RIDGE", "RidgeSolver", "best_ridge", "held_out_error", "ridge_regression"]

RIDGES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)  # in units of the mean variance of a predictor
USUAL_RIDGE = 0.03  # among these
TINY = 1e-30  # stands for 0 where something is divided by it


class RidgeSolver:
    """(C + k t I)^-1 for the covariance C of features [N, F] with mean variance t, for any k, by one SVD."""

    def __init__(self, features: Tensor) -> None:
        self.centred = features - features.mean(dim=0)
        _, values, self.axes = torch.linalg.svd(self.centred, full_matrices=False)
        self.variances = values.square() / len(features)
        self.mean_variance = float(self.variances.sum()) / features.shape[1]

    def solve(self, b: Tensor, k: float) -> Tensor:
        """Return u [F] with (C + k t I) u = b, for b [F]."""
        floor = max(k * self.mean_variance, TINY)
        projected = self.axes @ b
        return (b - self.axes.t() @ projected) / floor + self.axes.t() @ (projected / (self.variances + floor))

    def regress(self, targets: Tensor, k: float) -> Tensor:
        """Return the weights [F] that predict centred targets [N] from the centred features."""
        return self.solve(self.centred.t() @ targets / len(self.centred), k)


def ridge_regression(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """Return u [F] with x . u + constant ~ y, for x [N, F] and y [N]."""
    return RidgeSolver(x).regress(y - y.mean(), ridge)


def held_out_error(x: Tensor, y: Tensor, u: Tensor, split: int) -> float:
    """Return the mean squared error of weights u [F] on the samples from ``split``, centred as those before it."""
    residuals = (x[split:] - x[:split].mean(dim=0)) @ u - (y[split:] - y[:split].mean())
    return float(residuals.square().mean())


def held_out_r2(x: Tensor, y: Tensor, u: Tensor, split: int) -> float:
    """Return the share of the variance of y [N] from ``split`` on that weights u [F] explain."""
    return 1 - held_out_error(x, y, u, split) / float(y[split:].var().clamp(min=TINY))


def best_ridge(x: Tensor, y: Tensor, split: int) -> tuple[float, float]:
    """Choose the ridge that explains most of the samples from ``split`` on, and return it with that R2."""
    explained = {ridge: held_out_r2(x, y, ridge_regression(x[:split], y[:split], ridge), split) for ridge in RIDGES}
    ridge = max(explained, key=explained.__getitem__)
    return ridge, explained[ridge]
