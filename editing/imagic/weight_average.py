"""Moving averages of weights (Polyak and Juditsky 1992): what is left of learning's noise averages out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["WeightAverage"]

_WARM_UP = 10  # steps over which the average begins to reach as far back as its decay says


class WeightAverage:
    """The exponential moving average of tensors that are trained; without a decay it does nothing, and costs nothing.

    Args:
        tensors: of any shape; each gets a copy.
        decay: share of the average that stays at a step, 0 for no average.
    """

    def __init__(self, tensors: Sequence[Tensor], decay: float) -> None:
        self._tensors, self._decay, self._steps = list(tensors) if decay else [], decay, 0
        self._averages = [tensor.detach().clone() for tensor in self._tensors]

    @torch.no_grad()
    def update(self) -> None:
        """Take the tensors in as they are after a step; the first steps count more, so that the start is forgotten."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + _WARM_UP))
        for average, tensor in zip(self._averages, self._tensors, strict=True):
            average.lerp_(tensor, 1 - decay)

    @torch.no_grad()
    def write(self) -> None:
        """Give the tensors their averages, at the end."""
        for average, tensor in zip(self._averages, self._tensors, strict=True):
            tensor.copy_(average)
