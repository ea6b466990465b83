"""Edits of real faces by their own landmarks: points move by a strength, a thin-plate spline carries the pixels along.

Bookstein, Principal Warps (1989): of all smooth maps through the moved points the one that bends least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_FIELD = 48  # places along each side at which the spline is computed; between them it is interpolated
# Points of MediaPipe's mesh that stay: the face's outline above the mouth, eyes, nose, and what is near a moved part.
_OUTLINE = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 127, 234, 93, 162, 21, 54, 103, 67, 109)
_BEYOND = 1.5  # hair stays, too: so far from the face's middle, in shares of the outline's distance
_EYES = (33, 133, 159, 145, 362, 263, 386, 374)
_NOSE = (1, 2, 4, 6, 98, 327, 168, 195)
_UPPER_LIP = (0, 13, 37, 267, 82, 312, 61, 291, 78, 308)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 46, 53, 52, 65, 55, 285, 295, 282, 283, 276)


@dataclass(frozen=True)
class Warp:
    """What moves, by (x outward from the face's middle, y down) in eyes' distances at strength 1, and what stays."""

    moves: dict[int, tuple[float, float]]
    stays: tuple[int, ...]


WARPS = {
    "mouth open": Warp(
        {k: (0.0, 0.16) for k in (14, 17, 87, 317, 84, 314, 16, 15)}
        | {k: (0.0, 0.12) for k in (178, 402, 181, 405, 152, 148, 377, 199, 200, 175)}
        | {k: (0.0, 0.06) for k in (88, 318, 91, 321, 172, 397)},
        _OUTLINE + _EYES + _NOSE + _UPPER_LIP,
    ),
    "smile": Warp(
        {k: (0.05, -0.12) for k in (61, 291, 78, 308)} | {k: (0.03, -0.06) for k in (185, 409, 146, 375, 95, 324)},
        _OUTLINE + _EYES + _NOSE + (13, 14, 0, 17, 152, 200, 172, 397),
    ),
    "brows raised": Warp({k: (0.0, -0.12) for k in _BROWS}, _OUTLINE + _EYES + _NOSE + (61, 291, 13, 14, 17, 152)),
}


def warp_faces(pictures: Tensor, points: Tensor, warp: Warp, strengths: Tensor) -> Tensor:
    """Move faces [B, 3, H, W] with points [B, N, 2] in pixels by strengths [B]."""
    height, width = pictures.shape[-2:]
    fields = [_field(own, warp, float(s), (height, width)) for own, s in zip(points, strengths, strict=True)]
    grid = F.interpolate(torch.stack(fields).float(), (height, width), mode="bicubic", align_corners=True)
    return F.grid_sample(
        pictures, grid.movedim(1, -1).to(pictures), mode="bicubic", padding_mode="reflection", align_corners=True
    ).clamp(-1, 1)


def _field(points: Tensor, warp: Warp, strength: float, size: tuple[int, int]) -> Tensor:
    """Where each place takes its pixel from, [2, f, f] in grid_sample's -1..1."""
    points = points.double()
    eyes = points[[33, 133]].mean(dim=0), points[[362, 263]].mean(dim=0)
    across = eyes[1] - eyes[0]
    distance, middle = across.norm(), points[[*_NOSE]].mean(dim=0)
    x_axis = across / distance
    y_axis = torch.stack([-x_axis[1], x_axis[0]])
    edge = torch.tensor([[x, y] for x in (0, 0.5, 1) for y in (0, 0.5, 1) if (x, y) != (0.5, 0.5)], dtype=torch.float64)
    edge = edge * torch.tensor([size[1] - 1.0, size[0] - 1.0])
    beyond = middle + _BEYOND * (points[list(_OUTLINE)] - middle)
    fixed = torch.cat([points[list(warp.stays)], beyond, edge])
    moved = points[list(warp.moves)]
    steps = torch.tensor(list(warp.moves.values()), dtype=torch.float64) * distance * strength
    outward = torch.sign((moved - middle) @ x_axis)[:, None]
    places = moved + steps[:, :1] * outward * x_axis + steps[:, 1:] * y_axis
    scale = torch.tensor([size[1] - 1.0, size[0] - 1.0], dtype=torch.float64) / 2
    line = torch.linspace(-1, 1, _FIELD, dtype=torch.float64)
    where = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)
    sources = thin_plate(torch.cat([places, fixed]) / scale - 1, torch.cat([moved, fixed]) / scale - 1, where)
    return sources.T.reshape(2, _FIELD, _FIELD)


def thin_plate(places: Tensor, values: Tensor, where: Tensor) -> Tensor:
    """Interpolate values [N, 2] given at places [N, 2] to others [M, 2]."""
    count = len(places)
    system = torch.zeros(count + 3, count + 3, dtype=torch.float64)
    system[:count, :count] = _kernel(places, places) + 1e-6 * torch.eye(count, dtype=torch.float64)
    affine = torch.cat([torch.ones(count, 1, dtype=torch.float64), places], dim=1)
    system[:count, count:], system[count:, :count] = affine, affine.T
    weights = torch.linalg.solve(system, torch.cat([values, torch.zeros(3, 2, dtype=torch.float64)]))
    return _kernel(where, places) @ weights[:count] + weights[count] + where @ weights[count + 1 :]


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    squared = (a[:, None] - b[None]).square().sum(dim=-1)
    return squared * squared.clamp(min=1e-12).log()
