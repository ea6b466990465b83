"""Ring buffer of renders, refilled in training: each portrait is served about ``replay`` times, then replaced."""

from __future__ import annotations

import torch
from torch import Tensor

from ...demo.portraits.factors import Z_DIM, factors_from_z
from ...demo.portraits.render import render
from .common import from_bytes, sample_z, to_bytes
from .data_parallel import ThreadedDataParallel
from .losses import detail_weights

_AT_ONCE = 32  # portraits painted at a time


class RenderCache:
    """Pairs of a normal sample and its portrait, with pixel weights."""

    def __init__(
        self,
        size: int,  # pixels of the square portraits
        capacity: int,  # portraits in the ring
        replay: int,  # times that each is served before it is replaced
        generator: torch.Generator,
        parallel: ThreadedDataParallel,
    ):
        self.parallel = parallel
        self.size, self.capacity, self.replay, self.generator = size, capacity, replay, generator
        self.z = torch.empty(capacity, Z_DIM)
        self.images = torch.empty(capacity, 3, size, size, dtype=torch.uint8)
        self.weights = torch.empty(capacity, 1, size, size, dtype=torch.uint8)  # in 1/32
        self.filled = self.position = self.served = 0

    def add(self, count: int) -> None:
        """Render ``count`` new portraits over the oldest ones."""
        z = sample_z(count, self.generator)
        chunks = self.parallel.map(self._paint, factors_from_z(z).chunk(self.parallel.workers))
        images, weights = (torch.cat(tensors) for tensors in zip(*chunks, strict=True))
        index = (self.position + torch.arange(count)) % self.capacity
        self.z[index] = z
        self.images[index] = images
        self.weights[index] = weights
        self.position = (self.position + count) % self.capacity
        self.filled = min(self.capacity, self.filled + count)

    def _paint(self, factors: Tensor) -> tuple[Tensor, Tensor]:
        portraits = render(factors, self.size, parts=True)
        return to_bytes(portraits.images), (detail_weights(portraits.parts) * 32).round().to(torch.uint8)

    def batch(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw z ``[B, Z]``, pictures ``[B, 3, H, W]`` in -1..1 and weights ``[B, 1, H, W]``; render when due."""
        while self.filled < self.capacity // 4:
            self.add(_AT_ONCE)
        if self.served >= self.replay * _AT_ONCE:
            self.add(_AT_ONCE)
            self.served -= self.replay * _AT_ONCE
        self.served += count
        index = torch.randint(0, self.filled, (count,), generator=self.generator)
        return self.z[index], from_bytes(self.images[index]), self.weights[index].float() / 32
