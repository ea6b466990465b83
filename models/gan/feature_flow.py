"""Feature flow: where the features of one synthesis have gone in another, so that a photo's details follow an edit.

Optical flow after Lucas and Kanade (1981) over a pyramid, on the features of a layer instead of on colours: the
channels of a generator see edges, colours and parts at once, so that even flat skin has something to hold on to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_ITERATIONS = 3  # of each level
_WINDOW = 5  # pixels whose motion is taken as one
_STIFFNESS = 0.15  # of the mean gradient energy: below it a pixel follows its surroundings
_COARSEST = 8  # px: the smallest side of the pyramid
_GONE = (0.2, 0.55)  # difference of matched features, in their spread: from here details fade, from there they are gone
_STIRRED = (0.15, 0.45)  # difference before matching: below the first nothing moved, so that what is still stays sharp


@dataclass(frozen=True, eq=False)
class FeatureFlow:
    """Motion of features, and how far it explains them.

    Args:
        shift: [B, 2, h, w], x and y in pixels of h x w, from a position to where its content was before.
        match: [B, 1, h, w] in 0..1: 1 where the content is still the same there, 0 where something else has come.
    """

    shift: Tensor
    match: Tensor

    def carry(self, values: Tensor, margin: int = 0) -> Tensor:
        """Move and fade values of the first synthesis into the second.

        Args:
            values: [B or 1, C, H, W], of any size.
            margin: cells of theirs that lie beyond the picture on each side; they move as the picture's border does.

        Returns:
            [B, C, H, W].
        """
        height, width = values.shape[2:]
        shift, match = self._resized((height - 2 * margin, width - 2 * margin))
        if margin:
            shift, match = (F.pad(x, (margin,) * 4, mode="replicate") for x in (shift, match))
        if not bool(shift.any()):
            return values * match
        return warp(values.expand(shift.shape[0], -1, -1, -1), shift) * match

    def _resized(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return shift and match at another size, the shift in its pixels."""
        if tuple(self.shift.shape[2:]) == size:
            return self.shift, self.match
        scale = self.shift.new_tensor([size[1] / self.shift.shape[3], size[0] / self.shift.shape[2]])
        return _resize(self.shift, size) * scale[:, None, None], _resize(self.match, size)


def feature_flow(source: Tensor, target: Tensor) -> FeatureFlow:
    """Follow features into those of another synthesis, without gradients.

    Args:
        source: [B or 1, C, h, w].
        target: [B, C, h, w].

    Returns:
        The flow; equal features give no shift and a match of exactly 1.
    """
    with torch.no_grad():
        source, target = source.detach().float().expand(target.shape), target.detach().float()
        if torch.equal(source, target):
            return FeatureFlow(torch.zeros_like(target[:, :2]), torch.ones_like(target[:, :1]))
        spread = source.std(dim=(2, 3), keepdim=True, correction=0).clamp(min=1e-4)
        centre = source.mean(dim=(2, 3), keepdim=True)
        source, target = (source - centre) / spread, (target - centre) / spread
        shift = _pyramid_flow(source, target)
        shift = shift * _smoothstep(_difference(source, target, _WINDOW), _STIRRED)
        return FeatureFlow(shift, 1 - _smoothstep(_difference(warp(source, shift), target, 3), _GONE))


def _pyramid_flow(source: Tensor, target: Tensor) -> Tensor:
    """Refine the shift [B, 2, h, w] from the coarsest level of a pyramid to the finest."""
    pyramid = [(source, target)]
    while min(pyramid[-1][0].shape[2:]) >= 2 * _COARSEST:
        pyramid.append(tuple(F.avg_pool2d(x, 2) for x in pyramid[-1]))
    shift = torch.zeros_like(pyramid[-1][1][:, :2])
    for source, target in reversed(pyramid):
        if shift.shape[2:] != source.shape[2:]:
            shift = _resize(shift, tuple(source.shape[2:])) * 2
        for _ in range(_ITERATIONS):
            shift = _window_mean(shift + _lucas_kanade_step(warp(source, shift), target), 3)
    return shift


def warp(values: Tensor, shift: Tensor) -> Tensor:
    """Read values at each position plus its shift; beyond the border, the border's.

    Args:
        values: [B, C, h, w].
        shift: [B, 2, h, w], x and y in pixels.

    Returns:
        [B, C, h, w].
    """
    height, width = values.shape[2:]
    x = torch.arange(width, device=values.device, dtype=torch.float32)
    y = torch.arange(height, device=values.device, dtype=torch.float32)
    grid = torch.stack(
        [
            (2 * (x[None, None, :] + shift[:, 0]) + 1) / width - 1,
            (2 * (y[None, :, None] + shift[:, 1]) + 1) / height - 1,
        ],
        dim=-1,
    )
    return F.grid_sample(values, grid.to(values), mode="bilinear", padding_mode="border", align_corners=False)


def _lucas_kanade_step(source: Tensor, target: Tensor) -> Tensor:
    """[B, 2, h, w]: the shift that explains the difference best, least squares over a window and all channels."""
    padded = F.pad((source + target) / 2, (1, 1, 1, 1), mode="replicate")
    gx, gy = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    residual = target - source
    # What has changed its look and not its position must not pull: large differences count less (Geman and McClure).
    weight = 1 / (1 + residual.square().mean(dim=1, keepdim=True)).square()
    products = ((gx, gx), (gx, gy), (gy, gy), (gx, residual), (gy, residual))
    sums = torch.cat([(a * b).mean(dim=1, keepdim=True) for a, b in products], dim=1)
    xx, xy, yy, xr, yr = _window_mean(sums * weight).chunk(5, dim=1)
    stiffness = _STIFFNESS * (xx + yy).mean(dim=(2, 3), keepdim=True) + 1e-8
    xx, yy = xx + stiffness, yy + stiffness
    determinant = xx * yy - xy * xy
    step = torch.cat([(yy * xr - xy * yr) / determinant, (xx * yr - xy * xr) / determinant], dim=1)
    return step.clamp(-1.5, 1.5)


def _difference(source: Tensor, target: Tensor, window: int) -> Tensor:
    """[B, 1, h, w]: how far features are apart, root mean square over channels and a window."""
    return _window_mean((source - target).square().mean(dim=1, keepdim=True), window).sqrt()


def _smoothstep(x: Tensor, span: tuple[float, float]) -> Tensor:
    """0 below the span, 1 above it, smooth between."""
    share = ((x - span[0]) / (span[1] - span[0])).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _window_mean(x: Tensor, size: int = _WINDOW) -> Tensor:
    """Average over windows of ``size`` pixels, [B, C, h, w] -> [B, C, h, w]; at the frame over those that exist."""
    return F.avg_pool2d(x, size, stride=1, padding=size // 2, count_include_pad=False)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, h, w] -> [B, C, *size]."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
