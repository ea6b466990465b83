"""Signed distance functions and palettes: negative inside, in units of the portrait (see ``scene.HALF_FRAME``).

Coordinates x, y and distances are tensors of a pixel grid that broadcast to ``[B, H, W]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ellipse(x: Tensor, y: Tensor, rx: Tensor | float, ry: Tensor | float) -> Tensor:
    """Approximate the distance to an axis-parallel ellipse at the origin: exact at the outline, which is what shows."""
    k0 = torch.sqrt((x / rx) ** 2 + (y / ry) ** 2 + 1e-9)
    k1 = torch.sqrt((x / rx**2) ** 2 + (y / ry**2) ** 2 + 1e-9)
    return k0 * (k0 - 1) / k1


def disk(x: Tensor, y: Tensor, radius: Tensor | float) -> Tensor:
    """Compute the distance to a disk at the origin."""
    return torch.sqrt(x * x + y * y + 1e-9) - radius


def rounded_box(x: Tensor, y: Tensor, rx: Tensor | float, ry: Tensor | float, radius: Tensor | float) -> Tensor:
    """Compute the distance to a box of half sizes rx, ry with corners of the given radius."""
    qx, qy = x.abs() - (rx - radius), y.abs() - (ry - radius)
    outside = torch.sqrt(qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2)
    return outside + torch.maximum(qx, qy).clamp(max=0) - radius


def smooth_max(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Compute the intersection of two shapes with the crease rounded over the width k."""
    h = (k - (a - b).abs()).clamp(min=0) / k
    return torch.maximum(a, b) + h * h * k / 4


def smooth_min(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Compute the union of two shapes with the crease filled over the width k."""
    h = (k - (a - b).abs()).clamp(min=0) / k
    return torch.minimum(a, b) - h * h * k / 4


def soft(distance: Tensor, width: float) -> Tensor:
    """Blur the inside of a distance: 1 well inside, 0 well outside, the given width between."""
    return torch.sigmoid(-distance / width)


def bump(distance: Tensor, width: Tensor | float) -> Tensor:
    """Compute a Gaussian ridge along the zero line of a distance."""
    return torch.exp(-((distance / width) ** 2))


def palette(t: Tensor, stops: Sequence[tuple[float, float, float]]) -> Tensor:
    """Interpolate colours ``[B, 3]`` at positions ``t [B]`` in 0..1 along equally spaced stops."""
    table = torch.tensor(stops, dtype=t.dtype, device=t.device)
    position = t.clamp(0, 1) * (len(stops) - 1)
    index = position.floor().clamp(max=len(stops) - 2).long()
    fraction = (position - index)[:, None]
    return table[index] * (1 - fraction) + table[index + 1] * fraction
