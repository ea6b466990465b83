"""Adam with accumulated gradients and loss scaling (mixed precision training, 1710.03740)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ....models.errors import InputError
from ..adam import adam

__all__ = ["ScaledAdam"]

_INITIAL_SCALE, _SMALLEST_SCALE = 2.0**14, 2.0**-8
_GROWTH_INTERVAL = 200  # steps without overflow before the scale is doubled


class ScaledAdam:
    """Takes Adam steps on float32 parameters.

    Args:
        groups: (parameters, learning rate) pairs; parameters of any shape.
        half: the network computes in float16, whose gradients vanish below 6e-8 unless the loss is scaled up.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Tensor], float]], half: bool = False) -> None:
        self.parameters = [parameter for parameters, _ in groups for parameter in parameters]
        self.optimizer = adam([{"params": list(parameters), "lr": rate} for parameters, rate in groups if parameters])
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scale = _INITIAL_SCALE if half else 1.0
        self._half, self._steps_since_overflow = half, 0

    def step(self, losses: Iterable[Tensor], factor: float = 1.0) -> float:
        """Add up the gradients of scalar losses, each freed before the next is made, and take one step.

        Args:
            losses: scalars [].
            factor: what the learning rates are multiplied with in this step.

        Returns:
            The sum of the losses.

        Raises:
            InputError: when the loss or its gradient is not finite, and no smaller scale helps.
        """
        self.optimizer.zero_grad(set_to_none=True)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        total = 0.0
        for loss in losses:
            (loss * self.scale).backward()
            total += float(loss.detach())
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if _all_finite(gradients):
            for gradient in gradients if self.scale != 1 else ():
                gradient.div_(self.scale)
            self.optimizer.step()
            self._grow_scale()
        else:
            self._shrink_scale()
        return total

    def _grow_scale(self) -> None:
        self._steps_since_overflow += 1
        if self._half and self._steps_since_overflow >= _GROWTH_INTERVAL:
            self.scale, self._steps_since_overflow = self.scale * 2, 0

    def _shrink_scale(self) -> None:
        self.scale, self._steps_since_overflow = self.scale / 4, 0
        if not self._half or self.scale < _SMALLEST_SCALE:
            raise InputError("The gradient is not finite: lower 'rate', or run the model in bfloat16 or float32.")


def _all_finite(tensors: Sequence[Tensor]) -> bool:
    """Pass once over each tensor, and ask the device once for all of them."""
    extremes = [extreme for tensor in tensors for extreme in torch.aminmax(tensor)]
    return not extremes or bool(torch.isfinite(torch.stack(extremes)).all())
