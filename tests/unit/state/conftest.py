"""Simulated editors: readings that answer to a strength as measured editors do, with slopes and limits that differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor


@dataclass(frozen=True)
class Simulation:
    """B pictures whose true state is known at every strength."""

    state: Callable[[Tensor], Tensor]  # strengths [B] -> true states [B]
    read: Callable[[Tensor], Tensor]
    before: Tensor  # [B], at strength 0

    def render(self, strengths: Tensor) -> Tensor:
        """Draw [B, 3, 2, 2] pictures that hold their state."""
        assert strengths.shape == self.before.shape
        return self.state(strengths)[:, None, None, None].expand(-1, 3, 2, 2).clone()

    def reachable(self, target: float, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Tell whose states over the range include the target, [B]."""
        states = torch.stack([self.state(s.expand(len(self.before))) for s in torch.linspace(low, high, 401)], dim=1)
        return (states.amin(dim=1) <= target) & (states.amax(dim=1) >= target)


def _simulate(
    count: int = 64,
    seed: int = 0,
    slope_spread: float = 0.2,
    saturation: float = 1.5,
    noise: float = 0.0,
    gain: float = 3.5,
    flat: float = 0.0,
    columns: bool = False,
) -> Simulation:
    """Make pictures whose states differ by 1 before the edit, and saturate; ``flat`` is the share that never answers.

    Args:
        gain: of the state by strength 1, before saturation; below 0 the state falls.
        columns: whether the reader gives [B, 1] rather than [B].
    """
    generator = torch.Generator().manual_seed(seed)
    normal = lambda: torch.randn(count, generator=generator)  # noqa: E731
    before, slope = normal(), gain * torch.exp(slope_spread * normal())
    limit, offset = saturation * torch.exp(0.15 * normal()), 0.25 * normal()
    slope = torch.where(torch.rand(count, generator=generator) < flat, 0.0, slope)

    def state(s: Tensor) -> Tensor:
        return before + 2 * limit * (torch.tanh((slope * s + offset) / (2 * limit)) - torch.tanh(offset / (2 * limit)))

    def read(pictures: Tensor) -> Tensor:
        readings = pictures[:, 0, 0, 0] + noise * torch.randn(len(pictures), generator=generator)
        return readings[:, None] if columns else readings

    return Simulation(state, read, before)


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Simulation]:
    """Makes simulated pictures; the arguments are those of `_simulate`."""
    return _simulate
