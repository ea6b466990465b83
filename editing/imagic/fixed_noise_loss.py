"""The denoising loss over fixed noise: two values of it differ by what was learned in between alone.

And how much of the photo comes back from noise that hides it, which is what sampling begins with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..common.diffusion.denoiser import Denoiser
from .conditioning import Conditioning
from .loss import TargetLatent, denoised_target, denoising_loss

__all__ = ["FixedNoiseLoss", "LossReport", "Plateau", "photo_recall"]

_DRAWS, _AT_ONCE = 16, 4
_HIDDEN = (0.75, 0.85)  # shares of the trained timesteps at which noise hides all but the colours of large areas
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


def photo_recall(denoiser: Denoiser, target: TargetLatent, conditioning: Conditioning) -> float:
    """Return the share of the photo's variance that the model paints where noise hides the photo, 0..1.

    It is 1 - |denoised - x0|^2 / |x0 - mean|^2, means over the same few draws each time; without learning it is what
    the conditioning alone tells of the photo.
    """
    x0 = target.x0
    noise = target.draw_noise(denoiser, _AT_ONCE, _HIDDEN, torch.Generator().manual_seed(0))
    with torch.no_grad():
        error = (denoised_target(denoiser, target, noise, conditioning) - x0).square().mean()
    variance = (x0 - x0.mean(dim=(-2, -1), keepdim=True)).square().mean()
    return float((1 - error / variance.clamp(min=1e-12)).clamp(0, 1))


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
