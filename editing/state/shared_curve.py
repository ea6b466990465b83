"""The curve that the pictures of an edit share: monotone, fitted to all of them at once, each with its own slope."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.isotonic import isotonic_regression

__all__ = ["monotone", "pchip", "shared_curve", "slope_spread_of"]

_SLOPE_SPREADS = (0.15, 0.6)  # bounds of the standard deviation of pictures' slopes, as a share of the shared slope
_KNOTS = 9  # of the curve at most
_SWEEPS = 4  # of fitting the curve and the pictures' slopes in turn


def shared_curve(strengths: Tensor, readings: Tensor, valid: Tensor, noise: float) -> tuple[Tensor, Tensor]:
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
        curve = monotone(curve, hats.sum(dim=(0, 1)))
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


def monotone(curve: Tensor, counts: Tensor) -> Tensor:
    """Project a curve [K] on the monotone ones, rising or falling, whichever is nearer (pool adjacent violators)."""
    rising, falling = _pool(curve, counts), -_pool(-curve, counts)
    errors = [float((counts * (curve - other).square()).sum()) for other in (rising, falling)]
    return rising if errors[0] <= errors[1] else falling


def _pool(curve: Tensor, counts: Tensor) -> Tensor:
    return torch.from_numpy(isotonic_regression(curve.tolist(), counts.clamp(min=1e-9).tolist()))


def pchip(knots: Tensor, values: Tensor, grid: Tensor) -> Tensor:
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


def slope_spread_of(
    basis: Tensor, readings: Tensor, valid: Tensor, level: Tensor, noise: float, height: float
) -> float:
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
