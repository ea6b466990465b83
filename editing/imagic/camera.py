"""Whether a picture was zoomed, turned or moved, instead of edited: the usual way that Imagic fails.

A similarity transform is fitted that lays one picture over the other, on the grey values from coarse to fine. Where it
moves the picture noticeably AND explains much of the difference, the camera moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.inference import enable_training

__all__ = ["CameraMove", "camera_move"]

_SIDE = 64  # px of the finest level
_STEPS = 30  # on each level, of 16, 32 and 64 px
_STARTS = (-0.36, -0.24, -0.12, 0.0, 0.12, 0.24, 0.36)  # logarithms of zooms
_ZOOM, _TURN, _SHIFT, _EXPLAINED = 0.06, 0.08, 0.05, 0.2  # what counts as a move: shares, radians


@dataclass(frozen=True)
class CameraMove:
    """How a picture lies over another.

    Args:
        zoom: 1.1 means that things became a tenth larger.
        turn: radians, clockwise.
        shift: (right, down) as shares of the picture's sides.
        explained: share of the difference that is gone once the picture is laid back.
    """

    zoom: float
    turn: float
    shift: tuple[float, float]
    explained: float

    @property
    def moved(self) -> bool:
        """Whether the camera moved, rather than the content changed."""
        far = abs(self.zoom - 1) > _ZOOM or abs(self.turn) > _TURN or max(map(abs, self.shift)) > _SHIFT
        return far and self.explained > _EXPLAINED

    def __str__(self) -> str:
        return (
            f"zoom {self.zoom:.2f}, turned {self.turn * 57.3:+.0f} degrees, shifted {self.shift[0]:+.0%} right and "
            f"{self.shift[1]:+.0%} down"
        )


def camera_move(before: Tensor, after: Tensor) -> CameraMove:
    """The move between two pictures [H, W, 3] in 0..1 of the same size; none where one holds no finite numbers."""
    if not bool(torch.isfinite(before).all() and torch.isfinite(after).all()):
        return CameraMove(1.0, 0.0, (0.0, 0.0), 0.0)  # torch's sampling of a picture at NaN ends the whole process
    with enable_training():
        levels = [(_grey(before, side), _grey(after, side)) for side in (_SIDE // 4, _SIDE // 2, _SIDE)]
        # A fit slides into the nearest valley: several zooms are tried where that is cheap, and the best one refined.
        coarse = [_fitted(levels[:1], torch.tensor([zoom, 0.0, 0.0, 0.0])) for zoom in _STARTS]
        found = _fitted(levels[1:], min(coarse, key=lambda pose: float(_difference(*_laid(levels[0], pose)))))
        a, b = levels[-1]
        still, laid = float(_difference(a, _laid_back(b, torch.zeros(4)))), float(_difference(a, _laid_back(b, found)))
    zoom, turn, right, down = float(found[0].exp()), float(found[1]), float(found[2]) / 2, float(found[3]) / 2
    return CameraMove(zoom, turn, (right, down), 1 - laid / max(still, 1e-9) if still > 1e-4 else 0.0)


def _fitted(levels: list[tuple[Tensor, Tensor]], pose: Tensor) -> Tensor:
    """The pose (log zoom, turn, right, down) that lays the second picture over the first, from a first guess."""
    pose = pose.clone().requires_grad_(True)
    for level in levels:
        optimizer = torch.optim.Adam([pose], lr=0.02)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            _difference(*_laid(level, pose)).backward()
            optimizer.step()
    return pose.detach()


def _laid(level: tuple[Tensor, Tensor], pose: Tensor) -> tuple[Tensor, Tensor]:
    return level[0], _laid_back(level[1], pose)


def _laid_back(picture: Tensor, pose: Tensor) -> Tensor:
    """[1, 2, h, w] (grey and a mask of ones) sampled where the move took each place."""
    cos, sin = torch.cos(pose[1]) * pose[0].exp(), torch.sin(pose[1]) * pose[0].exp()
    rows = torch.stack([torch.stack([cos, -sin, pose[2]]), torch.stack([sin, cos, pose[3]])])
    grid = F.affine_grid(rows[None], list(picture.shape), align_corners=False)
    grey = F.grid_sample(picture[:, :1], grid, padding_mode="border", align_corners=False)
    seen = F.grid_sample(picture[:, 1:], grid, padding_mode="zeros", align_corners=False)
    return torch.cat([grey, seen], dim=1)


def _difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean of a rounded absolute difference where both pictures have something to show."""
    seen = b[:, 1:]
    rounded = ((a[:, :1] - b[:, :1]).square() + 1e-4).sqrt() - 1e-2
    return (rounded * seen).sum() / seen.sum().clamp(min=0.25 * seen.numel())


def _grey(image: Tensor, side: int) -> Tensor:
    picture = image.detach().float().cpu().movedim(-1, 0)[None].clone()
    grey = F.interpolate(picture.mean(dim=1, keepdim=True), size=(side, side), mode="area")
    grey = F.avg_pool2d(F.pad(grey, (2, 2, 2, 2), mode="replicate"), 5, stride=1)  # hard edges make a rugged landscape
    return torch.cat([grey, torch.ones_like(grey)], dim=1)
