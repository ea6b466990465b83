"""Gaussian-process regression of response curves: how each picture's reading answers to the strength.

All pictures share a monotone curve g; each has a level, a slope of its own near the shared one, and a smooth rest:

    y_i(s) = a_i + c_i g(s) + r_i(s) + noise

Given a picture's readings, the posterior mean passes through them as far as the reader is exact, and is pulled toward
the shared curve as far as the reader is noisy. It serves two readings or twenty, of any strengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .shared_curve import monotone, pchip, shared_curve, slope_spread_of

__all__ = ["ResponseCurves", "ResponsePrior", "fit_groups", "fit_prior", "fit_responses", "monotone_noise"]

GRID = 401  # strengths at which curves are computed
_LENGTH = 0.45  # of the rest's smoothness, as a share of the range of strengths
_REST = 0.12  # standard deviation of the smooth rest, as a share of the shared curve's height
_ROUGH = 0.15  # likewise of a rest with corners, which readings that stop short have
_ROUGH_LENGTH = 0.5
_WIDE = 1e4  # prior variance of the level, in squared heights of the curve
_JITTER = 1e-4  # of a height: readings are never trusted to the last bit
_CLEAR = 4.0  # standard errors by which groups have to differ before their curve is believed
_OTHER_WAY = 0.5  # of the usual change
_NOISE_SHARES = (1.0, 0.5, 0.25, 0.1, 0.03)  # of the measured noise, that readings are tried with
_CLEARLY = 4.0  # of a logarithm of likelihood: a smaller noise has to be likelier by so much


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
        shared = pchip(self.strengths.double(), self.shape.double(), grid)
        valid = torch.isfinite(readings)
        mean = _posterior(grid, shared, strengths, readings, valid, self.noise, self.slope_spread)
        return ResponseCurves(grid, shared, mean, self.noise)


def fit_prior(strengths: Tensor, readings: Tensor, noise: float | None = None) -> ResponsePrior:
    """Fit what is shared to pictures that were all read at the same strengths: [K] and [B, K]; as `fit_responses`."""
    columns = strengths.double().expand(len(readings), -1)
    valid = torch.isfinite(readings)
    bounds = float(strengths[0]), float(strengths[-1])
    noise = monotone_noise(columns, readings) if noise is None else likely_noise(columns, readings, bounds, noise)
    knots, shape = shared_curve(columns, readings, valid, noise)
    height = abs(float(shape[-1])) or 1.0
    at = shape.expand(len(readings), -1) / height
    level = torch.where(valid, readings, torch.nan).nanmean(dim=1, keepdim=True)
    return ResponsePrior(knots, shape, slope_spread_of(at, readings, valid, level, noise, height), noise)


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
        noise: standard deviation of a reading at most, see `likely_noise`; None: estimated from steps that go back.
    """
    grid = torch.linspace(bounds[0], bounds[1], GRID, dtype=torch.float64)
    valid = torch.isfinite(readings)
    noise = monotone_noise(strengths, readings) if noise is None else likely_noise(strengths, readings, bounds, noise)
    shared = _shared(grid, strengths, readings, valid, noise)
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
    curve = monotone(means, 1 / errors.clamp(min=1e-30))
    if abs(float(curve[-1] - curve[0])) < _CLEAR * float((errors[0] + errors[-1]).sqrt()):
        return None
    shared = pchip(knots, curve - curve[0], grid)
    columns = strengths[:, None], readings[:, None], valid[:, None]
    return ResponseCurves(grid, shared, _posterior(grid, shared, *columns, noise or 0.0), noise or 0.0)


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
    prior = _Prior.of(grid, shared, strengths, readings, valid, noise, slope_spread)
    everywhere = grid.expand(len(strengths), -1), (shared / prior.height).expand(len(strengths), -1)
    cross = _covariance(*everywhere, strengths, prior.basis, prior.span, prior.slope_spread)
    weights = torch.linalg.solve(prior.matrix, prior.rest[..., None])  # [B, N, 1]
    mean = (shared / prior.height + (cross @ weights)[..., 0]) * prior.height + prior.level
    return torch.where(valid.any(dim=1, keepdim=True), mean, torch.nan)


@dataclass(frozen=True, eq=False)
class _Prior:
    """What readings are expected to be, in heights of the shared curve.

    Args:
        level: [B, 1], each picture's mean reading.
        basis: [B, N], the shared curve where each picture was read.
        matrix: [B, N, N], covariance of the readings.
        rest: [B, N], what of a reading neither the level nor the shared curve says.
    """

    height: float
    span: float
    slope_spread: float
    level: Tensor
    basis: Tensor
    matrix: Tensor
    rest: Tensor

    @classmethod
    def of(
        cls, grid: Tensor, shared: Tensor, strengths: Tensor, readings: Tensor, valid: Tensor, noise: float,
        slope_spread: float | None = None,
    ) -> _Prior:  # fmt: skip
        span = float(grid[-1] - grid[0])
        readable = torch.where(valid, readings, torch.nan)
        level = readable.nanmean(dim=1, keepdim=True)
        height = abs(float(shared[-1])) or (1.0 if slope_spread else _deviation(readable - level, valid)) or 1.0
        basis = _interpolate(grid, shared.expand(len(strengths), -1), strengths) / height
        if slope_spread is None:
            slope_spread = slope_spread_of(basis, readings, valid, level, noise, height)
        own = torch.where(valid, (noise / height) ** 2 + _JITTER**2, 1e9)  # what was not read may be anything
        matrix = _covariance(strengths, basis, strengths, basis, span, slope_spread) + torch.diag_embed(own)
        rest = torch.where(valid, (readings - level) / height - basis, 0.0)
        return cls(height, span, slope_spread, level, basis, matrix, rest)

    def log_likelihood(self, valid: Tensor) -> float:
        """Return the logarithm of the readings' likelihood, but for a constant."""
        explained = (self.rest * torch.linalg.solve(self.matrix, self.rest[..., None])[..., 0]).sum()
        logarithm = torch.linalg.slogdet(self.matrix).logabsdet.sum()
        return -0.5 * float(explained + logarithm) - float(valid.sum()) * math.log(self.height)


def _covariance(s: Tensor, g: Tensor, t: Tensor, h: Tensor, span: float, slope_spread: float) -> Tensor:
    """Return the prior covariance of readings at strengths s and t, where the shared curve is g and h, in heights."""
    apart = (s[..., :, None] - t[..., None, :]).abs() / span
    smooth = torch.exp(-0.5 * (apart / _LENGTH).square())
    rough = torch.exp(-apart / _ROUGH_LENGTH)
    return _WIDE + slope_spread**2 * g[..., :, None] * h[..., None, :] + _REST**2 * smooth + _ROUGH**2 * rough


def likely_noise(strengths: Tensor, readings: Tensor, bounds: tuple[float, float], most: float) -> float:
    """Return the noise under which readings are likeliest, at most that which was measured on disturbed pictures.

    An editor that draws one picture at several strengths disturbs it less than shifts, zooms and grain do: a reader
    whose noise was measured with those is believed too little, and pictures stop short of their state.

    Args:
        strengths, readings: [B, N].
        bounds: of the strengths.
        most: taken where readings do not clearly speak for less.
    """
    if not most:
        return most
    grid = torch.linspace(bounds[0], bounds[1], GRID, dtype=torch.float64)
    valid = torch.isfinite(readings)
    heard = []
    for share in _NOISE_SHARES:
        shared = _shared(grid, strengths, readings, valid, most * share)
        prior = _Prior.of(grid, shared, strengths, readings, valid, most * share)
        heard.append(prior.log_likelihood(valid))
    best = max(range(len(heard)), key=heard.__getitem__)
    return most * _NOISE_SHARES[best] if heard[best] - heard[0] > _CLEARLY else most


def _shared(grid: Tensor, strengths: Tensor, readings: Tensor, valid: Tensor, noise: float) -> Tensor:
    """Fit the shared curve over the grid [G], zero at its first strength."""
    shared = pchip(*shared_curve(strengths, readings, valid, noise), grid)
    return shared - shared[0]


def _deviation(rest: Tensor, valid: Tensor) -> float:
    """Return the root of the mean square of what is valid."""
    return float(rest[valid].square().mean().sqrt()) if bool(valid.any()) else 0.0


def _interpolate(grid: Tensor, curves: Tensor, strengths: Tensor) -> Tensor:
    """Interpolate curves [B, G] over an even grid at strengths [B, N] -> [B, N]."""
    position = ((strengths - grid[0]) / (grid[1] - grid[0])).clamp(0, len(grid) - 1)
    low = position.floor().clamp(max=len(grid) - 2).long()
    fraction = position - low
    return curves.gather(1, low) * (1 - fraction) + curves.gather(1, low + 1) * fraction
