"""Prepared weights: a frozen weight's energy for the demodulation, its arrangements for the tiled path, made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from .direct import arrange_weight
from .doubling import PhaseWeights, arrange_phases
from .winograd import transform_weight

Value = TypeVar("Value")
_SAMPLES = 64


class PreparedWeight:
    """A cache that belongs to one weight [O, I, k, k]; every method takes the weight and sees whether it has changed.

    A change is seen by its address, its version (torch counts in-place changes) and, for changes made through
    ``.data``, by a few sampled values. A copy or a pickle starts empty, so that files and clones do not grow.
    """

    def __init__(self) -> None:
        self._source: Tensor | None = None  # an alias: while it lives, its address cannot belong to another weight
        self._version = -1
        self._sample: Tensor | None = None
        self._values: dict[str, object] = {}

    def leave(self, weight: Tensor) -> None:
        """Let go of everything, unless it belongs to ``weight`` as it is now: of a network that was moved, the weights
        on the device before would else stay alive here."""
        if not self._is_current(weight):
            self._source, self._sample, self._values = None, None, {}

    def __deepcopy__(self, memo: dict) -> PreparedWeight:
        return PreparedWeight()

    def __reduce__(self) -> tuple:
        return PreparedWeight, ()

    def energy(self, weight: Tensor) -> Tensor:
        """Return the sum of squares over the kernel, [O, I]."""
        return self._get("energy", weight, kernel_energy)

    def winograd(self, weight: Tensor) -> Tensor:
        """Return [36, I, O], see :func:`.winograd.transform_weight`: four times the memory of the weight."""
        return self._get("winograd", weight, transform_weight)

    def taps(self, weight: Tensor) -> Tensor:
        """Return [9, I, O], see :func:`.direct.arrange_weight`."""
        return self._get("taps", weight, arrange_weight)

    def phases(self, weight: Tensor) -> PhaseWeights:
        """Return the six matrices of :func:`.doubling.arrange_phases`."""
        return self._get("phases", weight, arrange_phases)

    def _get(self, name: str, weight: Tensor, make: Callable[[Tensor], Value]) -> Value:
        if not self._is_current(weight):
            self._values = {}
            self._source, self._version = weight.detach(), _version(weight)
            self._sample = _sample(self._source).clone()
        if name not in self._values:
            # Normal tensors, also when the first picture is made under inference mode: they serve autograd later.
            with torch.inference_mode(False), torch.no_grad():
                self._values[name] = make(weight.detach())
        return self._values[name]  # type: ignore[return-value]

    def _is_current(self, weight: Tensor) -> bool:
        known = self._source
        return (
            known is not None
            and known.data_ptr() == weight.data_ptr()
            and known.shape == weight.shape
            and known.stride() == weight.stride()
            and known.dtype == weight.dtype
            and known.device == weight.device
            and self._version == _version(weight)
            and torch.equal(self._sample, _sample(weight))
        )


def kernel_energy(weight: Tensor) -> Tensor:
    """Sum squares over the kernel, [O, I, k, k] -> [O, I]."""
    return weight.square().sum(dim=(2, 3))


def _version(weight: Tensor) -> int:
    return 0 if weight.is_inference() else weight._version


def _sample(weight: Tensor) -> Tensor:
    flat = weight.detach().reshape(-1) if weight.is_contiguous() else weight.detach()[0].reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLES)]
