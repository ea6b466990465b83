"""How long an operation would take if the machine did nothing but its arithmetic, or nothing but move its data.

Operations are counted as the definition has them (a multiplication and an addition are two), bytes as every input
and every result passing memory once. The floor is the longer of the two times, at the rates that this machine reaches
in the same run: a large matrix product and a large copy. A fraction above 1 is possible, and means that an algorithm
needs fewer operations than the definition (Winograd's convolution: down to a quarter), or that data stayed in a cache.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Cost:
    """What an operation cannot do without."""

    operations: float
    bytes: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.bytes + other.bytes)

    def times(self, factor: float) -> Cost:
        """``factor`` times as much of both."""
        return Cost(self.operations * factor, self.bytes * factor)


@dataclass(frozen=True)
class Rates:
    """What the machine reaches: operations and bytes per second."""

    operations: float
    bytes: float

    def floor(self, cost: Cost) -> float:
        """Seconds."""
        return max(cost.operations / self.operations, cost.bytes / self.bytes)

    def __str__(self) -> str:
        return f"{self.operations / 1e9:,.0f} G operations/s and {self.bytes / 1e9:,.1f} GB/s"


def measured_rates(device: torch.device, dtype: torch.dtype, quick: bool = False) -> Rates:
    """The best of a few large matrix products and copies (a copy reads and writes: twice its size)."""
    on_cpu = device.type == "cpu"
    side = (512 if quick else 1536) if on_cpu else 8192
    values = (2**22 if quick else 2**26) if on_cpu else 2**28
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = _best(lambda: torch.mm(a, b), device)
    source = torch.ones(values, device=device)
    target = torch.empty_like(source)
    copy = _best(lambda: target.copy_(source), device)
    return Rates(2 * side**3 / product, 2 * source.nbytes / copy)


def convolution(batch: int, inputs: int, outputs: int, height: int, width: int, up: int, size: int, taps: int) -> Cost:
    """A styled convolution of [B, I, h, w] with what follows it, in values: a transposed one and ``taps`` with up 2."""
    pixels, made = height * width, height * width * up * up
    operations = 2.0 * batch * inputs * outputs * size * size * pixels
    if up == 2:
        operations += 2.0 * taps * batch * outputs * made
    moved = batch * (inputs * pixels + outputs * made) + inputs * outputs * size * size
    return Cost(operations, moved)


def in_bytes(cost: Cost, dtype: torch.dtype) -> Cost:
    """A cost counted in values as one counted in bytes."""
    return Cost(cost.operations, cost.bytes * dtype.itemsize)


def with_gradient(cost: Cost) -> Cost:
    """Forward, and back to the inputs with frozen weights: the arithmetic twice; the backward pass reads the gradient,
    the input and the result, and writes the input's gradient, about twice what the forward pass moves."""
    return Cost(2 * cost.operations, 3 * cost.bytes)


def synthesis(network: torch.nn.Module, batch: int) -> Cost:
    """All layers of a StyleGAN2 and its colours, in values."""
    total = Cost(0.0, 0.0)
    run = network.synthesis
    for layer, (index, name) in enumerate(run.layers):
        block = run.block(index)
        conv = getattr(block, name)
        channels, height, width = run.layer_size(layer)
        size = conv.weight.shape[2]
        total += convolution(
            batch, conv.weight.shape[1], channels, height // conv.up, width // conv.up, conv.up, size, 16
        )
        if name == "conv1" and block.has_rgb:
            colours = block.torgb.weight.shape[0]
            total += convolution(batch, channels, colours, height, width, 1, 1, 0)
            total += Cost(2.0 * 4 * batch * colours * height * width, 2.25 * batch * colours * height * width)
    return total


def straightness(sizes: list[float], costs: list[float]) -> tuple[float, float, float]:
    """(slope, intercept, R2) of cost = intercept + slope size, by least squares of relative errors.

    Sizes grow by factors, so plain least squares would look at the largest alone.
    """
    weights = [1 / cost**2 for cost in costs]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, sizes, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, costs, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, sizes, strict=True))
    both = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, sizes, costs, strict=True))
    slope = both / spread if spread else 0.0
    left = sum(w * (y - mean_y - slope * (x - mean_x)) ** 2 for w, x, y in zip(weights, sizes, costs, strict=True))
    whole = sum(w * (y - mean_y) ** 2 for w, y in zip(weights, costs, strict=True))
    return slope, mean_y - slope * mean_x, 1 - left / whole if whole else 1.0


def _best(run: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    run()
    best = math.inf
    for _ in range(rounds):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        best = min(best, time.perf_counter() - begin)
    return best


def synchronize(device: torch.device) -> None:
    """Wait for the device; nothing on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
