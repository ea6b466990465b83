"""Camera motion between two pictures: the usual way that Imagic fails is to zoom, turn or shift instead of editing.

A similarity transform is fitted that lays one picture over the other, on the grey values from coarse to fine (direct
image alignment). Where it moves the picture noticeably AND explains much of the difference, the camera moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.inference import enable_training

__all__ = ["CameraMove", "estimate_camera_move"]

_FINEST = 64  # px of the finest level
_STEPS = 30  # of Adam on each level, of 16, 32 and 64 px
_INITIAL_LOG_ZOOMS = (-0.36, -0.24, -0.12, 0.0, 0.12, 0.24, 0.36)
_ZOOM, _TURN, _SHIFT, _EXPLAINED = 0.06, 0.08, 0.05, 0.2  # what counts as a move: shares, radians


@dataclass(frozen=True)
class CameraMove:
    """The similarity transform of a picture over another.

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
        """Tell whether the camera moved, rather than the content changed."""
        far = abs(self.zoom - 1) > _ZOOM or abs(self.turn) > _TURN or max(map(abs, self.shift)) > _SHIFT
        return far and self.explained > _EXPLAINED

    def __str__(self) -> str:
        return (
            f"zoom {self.zoom:.2f}, turned {self.turn * 57.3:+.0f} degrees, shifted {self.shift[0]:+.0%} right and "
            f"{self.shift[1]:+.0%} down"
        )


def estimate_camera_move(photo: Tensor, picture: Tensor) -> CameraMove:
    """Fit the move between two pictures [H, W, 3] in 0..1 of the same size; none where one holds no finite numbers."""
    if not bool(torch.isfinite(photo).all() and torch.isfinite(picture).all()):
        return CameraMove(1.0, 0.0, (0.0, 0.0), 0.0)  # torch's sampling of a picture at NaN ends the whole process
    with enable_training():
        sizes = (_FINEST // 4, _FINEST // 2, _FINEST)
        pyramid = [(_smooth_grey(photo, size), _smooth_grey(picture, size)) for size in sizes]
        # A fit slides into the nearest valley: several zooms are tried where that is cheap, and the best one refined.
        candidates = [
            _fit_pose(pyramid[:1], torch.tensor([log_zoom, 0.0, 0.0, 0.0])) for log_zoom in _INITIAL_LOG_ZOOMS
        ]
        pose = _fit_pose(pyramid[1:], min(candidates, key=lambda pose: float(_pose_error(*pyramid[0], pose))))
        error_unmoved = float(_pose_error(*pyramid[-1], torch.zeros(4)))
        error = float(_pose_error(*pyramid[-1], pose))
    zoom, turn, right, down = float(pose[0].exp()), float(pose[1]), float(pose[2]) / 2, float(pose[3]) / 2
    explained = 1 - error / max(error_unmoved, 1e-9) if error_unmoved > 1e-4 else 0.0
    return CameraMove(zoom, turn, (right, down), explained)


def _fit_pose(pyramid: list[tuple[Tensor, Tensor]], pose: Tensor) -> Tensor:
    """Fit the pose [4] (log zoom, turn, right, down) that lays the second picture over the first, from a guess."""
    pose = pose.clone().requires_grad_(True)
    for photo, picture in pyramid:
        optimizer = torch.optim.Adam([pose], lr=0.02)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            _pose_error(photo, picture, pose).backward()
            optimizer.step()
    return pose.detach()


def _pose_error(photo: Tensor, picture: Tensor, pose: Tensor) -> Tensor:
    """Return the mean smoothed absolute difference [] once the pose is undone, where both pictures have pixels."""
    warped = _warp(picture, pose)
    visible = warped[:, 1:]
    difference = ((photo[:, :1] - warped[:, :1]).square() + 1e-4).sqrt() - 1e-2
    return (difference * visible).sum() / visible.sum().clamp(min=0.25 * visible.numel())


def _warp(picture: Tensor, pose: Tensor) -> Tensor:
    """Sample [1, 2, h, w] (grey and a mask of ones) where the move took each pixel."""
    cos, sin = torch.cos(pose[1]) * pose[0].exp(), torch.sin(pose[1]) * pose[0].exp()
    matrix = torch.stack([torch.stack([cos, -sin, pose[2]]), torch.stack([sin, cos, pose[3]])])
    grid = F.affine_grid(matrix[None], list(picture.shape), align_corners=False)
    grey = F.grid_sample(picture[:, :1], grid, padding_mode="border", align_corners=False)
    visible = F.grid_sample(picture[:, 1:], grid, padding_mode="zeros", align_corners=False)
    return torch.cat([grey, visible], dim=1)


def _smooth_grey(image: Tensor, size: int) -> Tensor:
    """Shrink a picture [H, W, 3] to [1, 2, size, size], its grey values and a mask of ones."""
    colours = rearrange(image.detach().float().cpu(), "h w c -> 1 c h w").clone()
    grey = F.interpolate(colours.mean(dim=1, keepdim=True), size=(size, size), mode="area")
    grey = F.avg_pool2d(F.pad(grey, (2, 2, 2, 2), mode="replicate"), 5, stride=1)  # hard edges make a rugged landscape
    return torch.cat([grey, torch.ones_like(grey)], dim=1)
