"""Where the features of one synthesis have gone in another: how the details of a photo follow an edit.

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
    """``shift`` [B, 2, h, w]: x and y, in pixels of h x w, from a place to where its content was before.

    ``match`` [B, 1, h, w] in 0..1: 1 where the content is still the same there, 0 where something else has come.
    """

    shift: Tensor
    match: Tensor

    def carry(self, values: Tensor) -> Tensor:
        """Values [B, C, H, W] (or [1, C, H, W]) of the first synthesis, moved and faded into the second."""
        size = tuple(values.shape[2:])
        shift, match = self._resized(size)
        if not bool(shift.any()):
            return values * match
        return moved(values.expand(shift.shape[0], -1, -1, -1), shift) * match

    def _resized(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        if tuple(self.shift.shape[2:]) == size:
            return self.shift, self.match
        scale = self.shift.new_tensor([size[1] / self.shift.shape[3], size[0] / self.shift.shape[2]])
        return _resize(self.shift, size) * scale[:, None, None], _resize(self.match, size)


def feature_flow(
    before: Tensor,  # [B or 1, C, h, w]
    after: Tensor,  # [B, C, h, w]
) -> FeatureFlow:
    """Follow ``before`` into ``after``; equal features give no shift and a match of exactly 1. Without gradients."""
    with torch.no_grad():
        before, after = before.detach().float().expand(after.shape), after.detach().float()
        if torch.equal(before, after):
            return FeatureFlow(torch.zeros_like(after[:, :2]), torch.ones_like(after[:, :1]))
        spread = before.std(dim=(2, 3), keepdim=True, correction=0).clamp(min=1e-4)
        centre = before.mean(dim=(2, 3), keepdim=True)
        before, after = (before - centre) / spread, (after - centre) / spread
        pyramid = [(before, after)]
        while min(pyramid[-1][0].shape[2:]) >= 2 * _COARSEST:
            pyramid.append(tuple(F.avg_pool2d(x, 2) for x in pyramid[-1]))
        shift = torch.zeros_like(pyramid[-1][1][:, :2])
        for first, second in reversed(pyramid):
            if shift.shape[2:] != first.shape[2:]:
                shift = _resize(shift, tuple(first.shape[2:])) * 2
            for _ in range(_ITERATIONS):
                shift = _smooth(shift + _step(moved(first, shift), second))
        shift = shift * _rise(_difference(before, after, _WINDOW), _STIRRED)
        return FeatureFlow(shift, 1 - _rise(_difference(moved(before, shift), after, 3), _GONE))


def moved(values: Tensor, shift: Tensor) -> Tensor:
    """Values [B, C, h, w] read at each place plus its shift [B, 2, h, w]; beyond the border, the border's."""
    batch, _, height, width = values.shape
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


def _step(before: Tensor, after: Tensor) -> Tensor:
    """[B, 2, h, w]: the shift that explains the difference best, least squares over a window and all channels."""
    padded = F.pad((before + after) / 2, (1, 1, 1, 1), mode="replicate")
    gx, gy = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    rest = after - before
    # What has changed its looks and not its place must not pull: large differences count less (Geman and McClure).
    weight = 1 / (1 + rest.square().mean(dim=1, keepdim=True)).square()
    sums = torch.cat(
        [(a * b).mean(dim=1, keepdim=True) for a, b in ((gx, gx), (gx, gy), (gy, gy), (gx, rest), (gy, rest))], dim=1
    )
    xx, xy, yy, xr, yr = _window(sums * weight).chunk(5, dim=1)
    stiff = _STIFFNESS * (xx + yy).mean(dim=(2, 3), keepdim=True) + 1e-8
    xx, yy = xx + stiff, yy + stiff
    across = xx * yy - xy * xy
    step = torch.cat([(yy * xr - xy * yr) / across, (xx * yr - xy * xr) / across], dim=1)
    return step.clamp(-1.5, 1.5)


def _difference(before: Tensor, after: Tensor, window: int) -> Tensor:
    """[B, 1, h, w]: how far features are apart, root mean square over channels and a window."""
    return _window((before - after).square().mean(dim=1, keepdim=True), window).sqrt()


def _rise(x: Tensor, span: tuple[float, float]) -> Tensor:
    """0 below the span, 1 above it, smooth between."""
    share = ((x - span[0]) / (span[1] - span[0])).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _window(x: Tensor, size: int = _WINDOW) -> Tensor:
    return F.avg_pool2d(x, size, stride=1, padding=size // 2, count_include_pad=False)


def _smooth(shift: Tensor) -> Tensor:
    return _window(shift, 3)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
