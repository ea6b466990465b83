"""The denoising loss over fixed noise: two values of it differ by what was learned in between alone."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..common.diffusion.denoiser import Denoiser
from .conditioning import Conditioning
from .loss import TargetLatent, denoising_loss

__all__ = ["FixedNoiseLoss", "LossReport", "Plateau"]

_DRAWS, _AT_ONCE = 16, 4
_CHECKS, _PATIENCE, _LEAST_FALL = 12, 2, 0.01  # checks in all; of them in a row that gain less than this share


class FixedNoiseLoss:
    """The denoising loss over the same noise each time.

    Args:
        levels: shares of the trained timesteps, from least (0) to most noise (1).
        seed: of the work that is judged; the noise here is that of the next seed.
    """

    def __init__(self, denoiser: Denoiser, target: TargetLatent, levels: tuple[float, float], seed: int) -> None:
        self.denoiser, self.target = denoiser, target
        rng = torch.Generator().manual_seed((seed + 1) % 2**64)
        self.noise = target.draw_noise(denoiser, _DRAWS, levels, rng)

    def __call__(self, conditioning: Conditioning) -> float:
        """Return the mean loss under one conditioning."""
        with torch.no_grad():
            losses = [
                denoising_loss(self.denoiser, self.target, noise, conditioning) for noise in self.noise.split(_AT_ONCE)
            ]
        return float(torch.stack(losses).mean())


class Plateau:
    """Early stopping: tells when a loss over fixed noise no longer falls.

    Args:
        loss_before: before the first step.
        steps: at most.
    """

    def __init__(self, loss_before: float, steps: int) -> None:
        self.loss_before, self._lowest = loss_before, loss_before
        self._interval, self._checks_without_gain = max(steps // _CHECKS, 1), 0

    def reached(self, step: int, loss: Callable[[], float]) -> bool:
        """Check now and then, after ``step`` steps; ``loss`` is called for the checks alone."""
        if step % self._interval:
            return False
        current = loss()
        falls = current < self._lowest - _LEAST_FALL * self.loss_before
        self._checks_without_gain = 0 if falls else self._checks_without_gain + 1
        self._lowest = min(self._lowest, current)
        return self._checks_without_gain >= _PATIENCE


class LossReport:
    """A result that knows its loss over the same fixed noise before and after the work."""

    loss_before: float
    loss_after: float

    @property
    def gain(self) -> float:
        """Return the share of the loss that is gone."""
        return 1 - self.loss_after / max(self.loss_before, 1e-12)
