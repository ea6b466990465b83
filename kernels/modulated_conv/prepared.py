"""Prepared weights: a frozen weight's energy for the demodulation, its arrangements for the tiled path, made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from ..strips import one_thread
from .direct import arrange_weight
from .doubling import PhaseWeights, arrange_phases
from .winograd import transform_weight

Value = TypeVar("Value")
_SAMPLES = 64


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What was prepared of one weight as it was at one time; ``values`` fills, and the others stay."""

    source: Tensor  # an alias: while it lives, its address cannot belong to another weight
    version: int
    sample: Tensor
    values: dict[str, object] = field(default_factory=dict)

    def belongs_to(self, weight: Tensor) -> bool:
        """Return whether ``weight`` is the source, unchanged."""
        return (
            self.source.data_ptr() == weight.data_ptr()
            and self.source.shape == weight.shape
            and self.source.stride() == weight.stride()
            and self.source.dtype == weight.dtype
            and self.source.device == weight.device
            and self.version == _version(weight)
            and torch.equal(self.sample, _sample(weight))
        )


class PreparedWeight:
    """A cache that belongs to one weight [O, I, k, k]; every method takes the weight and sees whether it has changed.

    A change is seen by its address, its version (torch counts in-place changes) and, for changes made through
    ``.data``, by a few sampled values. A copy or a pickle starts empty, so that files and clones do not grow.
    Threads may share it: the entry is replaced as a whole, and two that come at once prepare the same values twice.
    """

    def __init__(self) -> None:
        self._entry: _Prepared | None = None

    def leave(self, weight: Tensor) -> None:
        """Let go of everything, unless it belongs to ``weight`` as it is now: of a network that was moved, the weights
        on the device before would else stay alive here."""
        entry = self._entry
        if entry is not None and not entry.belongs_to(weight):
            self._entry = None

    def leave_arrangements(self) -> None:
        """Let go of what strips need, four times the memory of the weight: they were tried, and are not used."""
        entry = self._entry
        if entry is not None:
            for name in ("winograd", "taps", "phases"):
                entry.values.pop(name, None)

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
        entry = self._entry
        if entry is None or not entry.belongs_to(weight):
            source = weight.detach()
            entry = self._entry = _Prepared(source, _version(weight), _sample(source).clone())
        value = entry.values.get(name)
        if value is None:
            # Normal tensors, also when the first picture is made under inference mode: they serve autograd later.
            # On one thread: the bytes of a product may depend on how many share it.
            with torch.inference_mode(False), torch.no_grad(), one_thread():
                value = entry.values[name] = make(weight.detach())
        return value  # type: ignore[return-value]


def kernel_energy(weight: Tensor) -> Tensor:
    """Sum squares over the kernel, [O, I, k, k] -> [O, I]."""
    return weight.square().sum(dim=(2, 3))


def _version(weight: Tensor) -> int:
    return 0 if weight.is_inference() else weight._version


def _sample(weight: Tensor) -> Tensor:
    flat = weight.detach().reshape(-1) if weight.is_contiguous() else weight.detach()[0].reshape(-1)
    return flat[:: max(1, flat.numel() // _SAMPLES)]
