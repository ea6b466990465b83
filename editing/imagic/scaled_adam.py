"""Adam for one photo: gradients gathered over parts of a step, scaled where the network computes in half precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.adam import adam

__all__ = ["Descent"]

_FIRST_SCALE, _LEAST_SCALE = 2.0**14, 2.0**-8
_PATIENCE = 200  # steps without overflow before the scale is doubled


class Descent:
    """Takes steps on float32 parameters.

    Args:
        groups: (parameters, learning rate) pairs.
        half: the network computes in float16, whose gradients vanish below 6e-8 unless the loss is scaled up.
    """

    def __init__(self, groups: Sequence[tuple[Sequence[Tensor], float]], half: bool = False) -> None:
        self.parameters = [parameter for parameters, _ in groups for parameter in parameters]
        self.optimizer = adam([{"params": list(given), "lr": rate} for given, rate in groups if given])
        self.scale = _FIRST_SCALE if half else 1.0
        self._half, self._since = half, 0

    def step(self, losses: Iterable[Tensor]) -> float:
        """Add up the gradients of scalar losses, each freed before the next is made, and take one step.

        Returns:
            The sum of the losses.

        Raises:
            InputError: the loss or its gradient is not finite, and no smaller scale helps.
        """
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for loss in losses:
            (loss * self.scale).backward()
            total += float(loss.detach())
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        # One pass over each, and one answer for all of them: a device is asked once.
        ends = [end for gradient in gradients for end in torch.aminmax(gradient)]
        if not ends or bool(torch.isfinite(torch.stack(ends)).all()):
            for gradient in gradients if self.scale != 1 else ():
                gradient.div_(self.scale)
            self.optimizer.step()
            self._grow()
        else:
            self._shrink()
        return total

    def _grow(self) -> None:
        self._since += 1
        if self._half and self._since >= _PATIENCE:
            self.scale, self._since = self.scale * 2, 0

    def _shrink(self) -> None:
        self.scale, self._since = self.scale / 4, 0
        if not self._half or self.scale < _LEAST_SCALE:
            raise InputError(
                "The gradient is not finite: lower the learning rate, or run the model in bfloat16 or float32."
            )
