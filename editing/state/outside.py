"""A cap on what an edit may change outside of a region: each picture's range of strengths ends where the cap is met."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.layer_blend import resized_mask

__all__ = ["OutsideCap", "capped_bounds"]

_MARGIN = 1.02  # of the cap: a drawing that exceeds it by less is within it


@dataclass(frozen=True, eq=False)
class OutsideCap:
    """How much pictures may change outside of a region.

    Args:
        before: [B, 3, H, W] in -1..1, the pictures without the edit.
        region: [B or 1, h, w] or [B or 1, 1, h, w], 1 where the edit acts; None: no change is free.
        limit: mean absolute change of what is outside, in shares of the whole brightness range (0..1).

    Raises:
        InputError: a limit that is not above 0, or a region of another number than pictures, or that leaves nothing
            outside.
    """

    before: Tensor
    region: Tensor | None
    limit: float

    def __post_init__(self) -> None:
        if not 0 < self.limit < float("inf"):
            raise InputError(f"The cap on change outside of the region must be above 0; got {self.limit}.")
        outside = torch.ones_like(self.before[:1, :1])
        if self.region is not None:
            region = self.region[:, None] if self.region.ndim == 3 else self.region
            if region.ndim != 4 or region.shape[1] != 1 or len(region) not in (1, len(self.before)):
                raise InputError(
                    f"The region has shape {list(self.region.shape)}; expected a mask [{len(self.before)}, H, W], one "
                    "per picture, or one for all."
                )
            outside = 1 - resized_mask(region.to(self.before), self.before.shape[2:]).clamp(0, 1)
        if not bool((outside.sum(dim=(1, 2, 3)) > 0).all()):
            raise InputError("The region covers a whole picture, so that nothing outside of it can be kept.")
        object.__setattr__(self, "region", 1 - outside)

    @property
    def largest(self) -> float:
        """What a drawing may change at most to count as within the cap."""
        return self.limit * _MARGIN

    def change(self, pictures: Tensor) -> Tensor:
        """Measure the mean absolute change outside of the region, [B], float64 on the CPU.

        Raises:
            InputError: the pictures have another shape than those before.
        """
        if pictures.shape != self.before.shape:
            raise InputError(
                f"The edited pictures have shape {list(pictures.shape)}, those before {list(self.before.shape)}; a cap "
                "on change needs one shape."
            )
        outside = 1 - self.region
        change = (pictures - self.before.to(pictures)).abs().mean(dim=1, keepdim=True) / 2 * outside
        share = change.sum(dim=(1, 2, 3)) / outside.expand_as(change).sum(dim=(1, 2, 3))
        return share.double().cpu()


def capped_bounds(strengths: Tensor, changes: Tensor, bounds: Tensor, limit: float) -> Tensor:
    """Narrow each picture's range of strengths to where its change stays within a limit.

    On either side of strength 0, where nothing changes, the change is taken as rising from drawing to drawing,
    straight in between, and straight on beyond the last.

    Args:
        strengths, changes: [B, N], drawings so far.
        bounds: [2, B], least and largest strength.
    """
    narrowed = []
    for side, end in ((-1.0, bounds[0]), (1.0, bounds[1])):
        along, order = (strengths * side).sort(dim=1)  # [B, N], distances on this side, negative on the other
        risen = changes.gather(1, order)
        x = torch.cat([torch.zeros_like(along[:, :1]), along.clamp(min=0)], dim=1)
        y = torch.cat([torch.zeros_like(along[:, :1]), torch.where(along > 0, risen, 0.0)], dim=1).cummax(dim=1).values
        above = y > limit
        first = above.long().argmax(dim=1, keepdim=True)
        crossed = above.any(dim=1)
        x1, y1 = x.gather(1, first), y.gather(1, first)
        x0, y0 = x.gather(1, (first - 1).clamp(min=0)), y.gather(1, (first - 1).clamp(min=0))
        inside = x0 + (x1 - x0) * (limit - y0) / (y1 - y0).clamp(min=1e-12)
        slope = y[:, -1:] / x[:, -1:].clamp(min=1e-12)
        beyond = torch.where(x[:, -1:] > 0, x[:, -1:] + (limit - y[:, -1:]) / slope.clamp(min=1e-12), torch.inf)
        reach = torch.where(crossed[:, None], inside, beyond)[:, 0].clamp(min=0)
        narrowed.append(side * torch.minimum(reach, (side * end).clamp(min=0)))
    return torch.stack(narrowed)
