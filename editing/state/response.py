"""Gaussian-process regression of response curves: how each picture's reading answers to the strength.

All pictures share a monotone curve g; each has a level, a slope of its own near the shared one, and a smooth rest:

    y_i(s) = a_i + c_i g(s) + r_i(s) + noise

Given a picture's readings, the posterior mean passes through them as far as the reader is exact, and is pulled toward
the shared curve as far as the reader is noisy. It serves two readings or twenty, of any strengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.isotonic import isotonic_regression

__all__ = ["ResponseCurves", "ResponsePrior", "fit_groups", "fit_prior", "fit_responses", "monotone_noise"]

GRID = 401  # strengths at which curves are computed
_LENGTH = 0.45  # of the rest's smoothness, as a share of the range of strengths
_SLOPE_SPREADS = (0.15, 0.6)  # bounds of the standard deviation of pictures' slopes, as a share of the shared slope
_REST = 0.12  # standard deviation of the smooth rest, as a share of the shared curve's height
_ROUGH = 0.15  # likewise of a rest with corners, which readings that stop short have
_ROUGH_LENGTH = 0.5
_WIDE = 1e4  # prior variance of the level, in squared heights of the curve
_JITTER = 1e-4  # of a height: readings are never trusted to the last bit
_CLEAR = 4.0  # standard errors by which groups have to differ before their curve is believed
_OTHER_WAY = 0.5  # of the usual change
_KNOTS = 9  # of the shared curve at most
_SWEEPS = 4  # of fitting the curve and the pictures' slopes in turn


@dataclass(frozen=True, eq=False)
class ResponseCurves:
    """The curves of B pictures over one grid of strengths.

    Args:
        grid: [G], rising strengths.
        shared: [G], the shared curve, zero at the grid's first strength; all zero where nothing answers.
        mean: [B, G], the posterior mean of each picture; NaN for a picture without a finite reading.
        noise: standard deviation of a reading.
    """

    grid: Tensor
    shared: Tensor
    mean: Tensor
    noise: float

    @property
    def height(self) -> float:
        """How far the shared curve reaches, signed: below 0 where readings fall with the strength."""
        return float(self.shared[-1])

    def at(self, strengths: Tensor) -> Tensor:
        """Interpolate each picture's curve at its own strengths: [B] -> [B], or [B, N] -> [B, N]."""
        columns = strengths if strengths.ndim == 2 else strengths[:, None]
        values = _interpolate(self.grid, self.mean, columns)
        return values if strengths.ndim == 2 else values[:, 0]


@dataclass(frozen=True, eq=False)
class ResponsePrior:
    """The shared curve of an editor and a reader, measured once: what each picture is then judged by on its own.

    Args:
        strengths: [K], rising.
        shape: [K], the curve there, monotone, zero at the first.
        slope_spread: standard deviation of pictures' slopes, as a share of the shared one.
        noise: standard deviation of a reading.
    """

    strengths: Tensor
    shape: Tensor
    slope_spread: float
    noise: float

    def curves(self, strengths: Tensor, readings: Tensor) -> ResponseCurves:
        """Return the posterior of pictures read at strengths [B, N], each by its own readings [B, N] alone."""
        grid = torch.linspace(float(self.strengths[0]), float(self.strengths[-1]), GRID, dtype=torch.float64)
        shared = _pchip(self.strengths.double(), self.shape.double(), grid)
        valid = torch.isfinite(readings)
        mean = _posterior(grid, shared, strengths, readings, valid, self.noise, self.slope_spread)
        return ResponseCurves(grid, shared, mean, self.noise)


def fit_prior(strengths: Tensor, readings: Tensor, noise: float | None = None) -> ResponsePrior:
    """Fit what is shared to pictures that were all read at the same strengths: [K] and [B, K]."""
    columns = strengths.double().expand(len(readings), -1)
    valid = torch.isfinite(readings)
    noise = monotone_noise(columns, readings) if noise is None else noise
    knots, shape = _shared_curve(columns, readings, valid, noise)
    height = abs(float(shape[-1])) or 1.0
    at = shape.expand(len(readings), -1) / height
    level = torch.where(valid, readings, torch.nan).nanmean(dim=1, keepdim=True)
    return ResponsePrior(knots, shape, _slope_spread(at, readings, valid, level, noise, height), noise)


def monotone_noise(strengths: Tensor, readings: Tensor) -> float:
    """Estimate a reader's noise from readings that step back where the curve goes on: [B, N] and [B, N] -> std.

    Where steps are large beside the noise none goes back, and none matters.
    """
    order = strengths.argsort(dim=1)
    steps = readings.gather(1, order).diff(dim=1)
    moved = (strengths.gather(1, order).diff(dim=1) > 0) & torch.isfinite(steps)
    if not bool(moved.any()):
        return 0.0
    rises = torch.where(moved, steps, 0.0).sum(dim=1)
    rises = rises * torch.sign(rises.sum())
    # Who goes the other way altogether is no noise.
    moved = moved & (rises >= -_OTHER_WAY * rises.abs().median())[:, None]
    steps = steps[moved]
    back = (-steps * torch.sign(steps.sum())).clamp(min=0) if len(steps) else torch.zeros(1)
    return float(back.square().mean().sqrt())


def fit_responses(
    strengths: Tensor,  # [B, N]
    readings: Tensor,  # [B, N], NaN where nothing was read
    bounds: tuple[float, float],
    noise: float | None = None,
) -> ResponseCurves:
    """Fit the shared curve and the posterior of every picture.

    Args:
        strengths: where each picture was read.
        readings: what was read there.
        bounds: first and last strength of the grid.
        noise: standard deviation of a reading; None: estimated from steps that go back.
    """
    grid = torch.linspace(bounds[0], bounds[1], GRID, dtype=torch.float64)
    valid = torch.isfinite(readings)
    if noise is None:
        noise = monotone_noise(strengths, readings)
    knots, shape = _shared_curve(strengths, readings, valid, noise)
    shared = _pchip(knots, shape, grid)
    shared = shared - shared[0]
    mean = _posterior(grid, shared, strengths, readings, valid, noise)
    return ResponseCurves(grid, shared, mean, noise)


def fit_groups(
    strengths: Tensor,  # [B]
    readings: Tensor,  # [B]
    bounds: tuple[float, float],
    noise: float | None = None,
) -> ResponseCurves | None:
    """Fit the shared curve to one reading per picture, where groups of pictures were read at each of few strengths.

    Returns:
        The curves; None where the groups do not tell them apart, because they are small or answer little.
    """
    grid = torch.linspace(bounds[0], bounds[1], GRID, dtype=torch.float64)
    valid = torch.isfinite(readings)
    knots = strengths[valid].unique()
    groups = [readings[valid & (strengths == knot)] for knot in knots]
    if len(groups) < 2 or min(len(group) for group in groups) < 4:
        return None
    means = torch.stack([group.mean() for group in groups])
    errors = torch.stack([group.var() / len(group) for group in groups])
    curve = _monotone(means, 1 / errors.clamp(min=1e-30))
    if abs(float(curve[-1] - curve[0])) < _CLEAR * float((errors[0] + errors[-1]).sqrt()):
        return None
    shared = _pchip(knots, curve - curve[0], grid)
    columns = strengths[:, None], readings[:, None], valid[:, None]
    return ResponseCurves(grid, shared, _posterior(grid, shared, *columns, noise or 0.0), noise or 0.0)


def _shared_curve(strengths: Tensor, readings: Tensor, valid: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Fit knots [K] and a monotone curve [K] to all pictures at once, each with its own level and slope."""
    knots = _knots(strengths, valid)
    curve = torch.zeros(len(knots), dtype=torch.float64)
    if len(knots) < 2:
        return torch.cat([knots, knots + 1])[:2], torch.zeros(2, dtype=torch.float64)
    weights, targets = valid.double(), torch.where(valid, readings, 0.0)
    hats = _hats(knots, strengths) * weights[..., None]  # [B, N, K]
    scale, slopes = torch.ones(len(strengths), dtype=torch.float64), None
    for _ in range(_SWEEPS):
        # Levels are eliminated; the curve solves what is left, robustly (a picture that does not answer counts less).
        robust = _robust_weights(curve, hats, targets, weights, scale, slopes)
        curve = _solve_curve(hats, targets, weights, scale, robust)
        curve = _monotone(curve, hats.sum(dim=(0, 1)))
        height = float(curve[-1] - curve[0])
        if abs(height) < 1e-12:
            break
        scale, slopes = _slopes(curve, hats, targets, weights, noise)
    return knots, curve - curve[0]


def _knots(strengths: Tensor, valid: Tensor) -> Tensor:
    """Choose the curve's knots [K] among the strengths that were read, as many as so many readings can tell."""
    values = strengths[valid]
    if not len(values):
        return torch.zeros(1, dtype=torch.float64)
    unique = values.unique()
    limit = min(_KNOTS, 2 + (len(values) - len(strengths)) // 4)
    if len(unique) <= limit:
        return unique
    return torch.quantile(values, torch.linspace(0, 1, limit, dtype=torch.float64)).unique()


def _hats(knots: Tensor, strengths: Tensor) -> Tensor:
    """Return the piecewise linear basis [B, N, K] over knots [K] at strengths [B, N] within them."""
    right = torch.searchsorted(knots, strengths.contiguous()).clamp(1, len(knots) - 1)
    fraction = ((strengths - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)[..., None]
    hat = torch.nn.functional.one_hot
    return hat(right - 1, len(knots)) * (1 - fraction) + hat(right, len(knots)) * fraction


def _centred(columns: Tensor, weights: Tensor) -> Tensor:
    """Subtract each picture's weighted mean over its readings: [B, N, ...]."""
    shape = (*weights.shape, *(1,) * (columns.ndim - 2))
    w = weights.reshape(shape)
    return (columns - (columns * w).sum(dim=1, keepdim=True) / w.sum(dim=1, keepdim=True).clamp(min=1)) * w


def _solve_curve(hats: Tensor, targets: Tensor, weights: Tensor, scale: Tensor, robust: Tensor) -> Tensor:
    design = _centred(hats, weights) * scale[:, None, None]  # [B, N, K]
    centred = _centred(targets, weights)
    design_w = design * robust[:, None, None]
    gram = torch.einsum("bnk,bnj->kj", design_w, design)
    gram = gram + 1e-9 * gram.diagonal().mean().clamp(min=1e-30) * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.lstsq(gram, torch.einsum("bnk,bn->k", design_w, centred)[:, None]).solution[:, 0]


def _slopes(curve: Tensor, hats: Tensor, targets: Tensor, weights: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Return each picture's slope relative to the shared curve, shrunk to 1 by the noise, and the plain one: [B]."""
    shape = _centred(hats @ curve, weights)  # [B, N]
    energy = shape.square().sum(dim=1)
    plain = (shape * _centred(targets, weights)).sum(dim=1) / energy.clamp(min=1e-30)
    answered = energy > 1e-6 * float((curve[-1] - curve[0]) ** 2)
    plain = torch.where(answered, plain, torch.ones_like(plain))
    error = noise**2 / energy.clamp(min=1e-30)
    spread = _SLOPE_SPREADS[1] ** 2
    shrunk = torch.where(answered, 1 + (plain - 1) * spread / (spread + error), torch.ones_like(plain))
    return shrunk.clamp(0, 4), plain


def _robust_weights(
    curve: Tensor, hats: Tensor, targets: Tensor, weights: Tensor, scale: Tensor, slopes: Tensor | None
) -> Tensor:
    """Weigh pictures [B] by Tukey's bisquare of their slope: one that does not answer says nothing of the others."""
    if slopes is None or len(slopes) < 4:
        return torch.ones_like(scale)
    deviation = slopes - slopes.median()
    width = 6 * deviation.abs().median().clamp(min=0.05)
    return (1 - (deviation / width).square()).clamp(min=0).square().clamp(min=1e-3)


def _monotone(curve: Tensor, counts: Tensor) -> Tensor:
    """Project a curve [K] on the monotone ones, rising or falling, whichever is nearer (pool adjacent violators)."""
    rising, falling = _pool(curve, counts), -_pool(-curve, counts)
    errors = [float((counts * (curve - other).square()).sum()) for other in (rising, falling)]
    return rising if errors[0] <= errors[1] else falling


def _pool(curve: Tensor, counts: Tensor) -> Tensor:
    return torch.from_numpy(isotonic_regression(curve.tolist(), counts.clamp(min=1e-9).tolist()))


def _pchip(knots: Tensor, values: Tensor, grid: Tensor) -> Tensor:
    """Interpolate by monotone cubics (Fritsch and Carlson, 1980); straight lines beyond the ends."""
    steps = knots.diff()
    secants = values.diff() / steps
    slopes = torch.empty_like(values)
    slopes[0], slopes[-1] = secants[0], secants[-1]
    if len(values) > 2:
        a, b = secants[:-1], secants[1:]
        w1, w2 = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
        harmonic = (w1 + w2) / (w1 / torch.where(a == 0, 1, a) + w2 / torch.where(b == 0, 1, b))
        slopes[1:-1] = torch.where(a * b > 0, harmonic, torch.zeros_like(a))
        first = ((2 * steps[0] + steps[1]) * secants[0] - steps[0] * secants[1]) / (steps[0] + steps[1])
        last = ((2 * steps[-1] + steps[-2]) * secants[-1] - steps[-1] * secants[-2]) / (steps[-1] + steps[-2])
        slopes[0] = _end_slope(first, secants[0])
        slopes[-1] = _end_slope(last, secants[-1])
    k = (torch.searchsorted(knots, grid, right=True) - 1).clamp(0, len(knots) - 2)
    h, t = steps[k], (grid - knots[k]) / steps[k]
    inside = (
        (1 + 2 * t) * (1 - t) ** 2 * values[k]
        + t * (1 - t) ** 2 * h * slopes[k]
        + t**2 * (3 - 2 * t) * values[k + 1]
        + t**2 * (t - 1) * h * slopes[k + 1]
    )
    below = values[0] + slopes[0] * (grid - knots[0])
    above = values[-1] + slopes[-1] * (grid - knots[-1])
    return torch.where(grid < knots[0], below, torch.where(grid > knots[-1], above, inside))


def _end_slope(slope: Tensor, secant: Tensor) -> Tensor:
    """Keep a monotone cubic's slope at an end between 0 and three times the secant's."""
    return torch.where(
        slope * secant <= 0, torch.zeros_like(slope), torch.sign(secant) * torch.minimum(slope.abs(), 3 * secant.abs())
    )


def _posterior(
    grid: Tensor,
    shared: Tensor,
    strengths: Tensor,
    readings: Tensor,
    valid: Tensor,
    noise: float,
    slope_spread: float | None = None,
) -> Tensor:
    """Compute each picture's posterior mean [B, G] given its readings."""
    span = float(grid[-1] - grid[0])
    spreads = torch.where(valid, readings, torch.nan)
    level = spreads.nanmean(dim=1, keepdim=True)  # [B, 1]
    height = abs(float(shared[-1])) or (1.0 if slope_spread else _deviation(spreads - level, valid)) or 1.0
    at = _interpolate(grid, shared.expand(len(strengths), -1), strengths)  # [B, N]
    basis, basis_grid = at / height, shared / height
    if slope_spread is None:
        slope_spread = _slope_spread(basis, readings, valid, level, noise, height)
    noise_variance = (noise / height) ** 2 + _JITTER**2
    variance = torch.where(valid, noise_variance, 1e9)

    def covariance(s: Tensor, g: Tensor, t: Tensor, h: Tensor) -> Tensor:
        apart = (s[..., :, None] - t[..., None, :]).abs() / span
        smooth = torch.exp(-0.5 * (apart / _LENGTH).square())
        rough = torch.exp(-apart / _ROUGH_LENGTH)
        return _WIDE + slope_spread**2 * g[..., :, None] * h[..., None, :] + _REST**2 * smooth + _ROUGH**2 * rough

    matrix = covariance(strengths, basis, strengths, basis) + torch.diag_embed(variance)
    cross = covariance(grid.expand(len(strengths), -1), basis_grid.expand(len(strengths), -1), strengths, basis)
    rest = torch.where(valid, (readings - level) / height - basis, 0.0)
    weights = torch.linalg.solve(matrix, rest[..., None])  # [B, N, 1]
    mean = (basis_grid + (cross @ weights)[..., 0]) * height + level
    return torch.where(valid.any(dim=1, keepdim=True), mean, torch.nan)


def _deviation(rest: Tensor, valid: Tensor) -> float:
    """Return the root of the mean square of what is valid."""
    return float(rest[valid].square().mean().sqrt()) if bool(valid.any()) else 0.0


def _slope_spread(basis: Tensor, readings: Tensor, valid: Tensor, level: Tensor, noise: float, height: float) -> float:
    """Estimate the standard deviation of pictures' slopes around the shared one."""
    weights = valid.double()
    shape = _centred(basis, weights)
    energy = shape.square().sum(dim=1)
    answered = energy > 0.01
    if int(answered.sum()) < 4:
        return sum(_SLOPE_SPREADS) / 2
    plain = (shape * _centred(torch.where(valid, readings - level, 0.0) / height, weights)).sum(dim=1)
    plain, error = (
        (plain / energy.clamp(min=1e-30))[answered],
        ((noise / height) ** 2 / energy.clamp(min=1e-30))[answered],
    )
    spread = 1.4826 * (plain - 1).abs().median()
    return float((spread.square() - error.median()).clamp(min=0).sqrt().clamp(*_SLOPE_SPREADS))


def _interpolate(grid: Tensor, curves: Tensor, strengths: Tensor) -> Tensor:
    """Interpolate curves [B, G] over an even grid at strengths [B, N] -> [B, N]."""
    position = ((strengths - grid[0]) / (grid[1] - grid[0])).clamp(0, len(grid) - 1)
    low = position.floor().clamp(max=len(grid) - 2).long()
    fraction = position - low
    return curves.gather(1, low) * (1 - fraction) + curves.gather(1, low + 1) * fraction
