"""How a diffusion network's output, its noise level and its timestep belong together.

Everything is said in sigma, the standard deviation of the noise in the latent, as samplers do (Karras et al.,
2206.00364): ``x0 + sigma * noise`` for epsilon and v prediction, ``(1 - sigma) * x0 + sigma * noise`` for flows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["PREDICTIONS", "NoiseSchedule"]

PREDICTIONS = ("epsilon", "v_prediction", "flow")


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels a network was trained at, and what it predicts.

    Args:
        prediction: one of PREDICTIONS.
        sigmas: [T] rising noise levels; timestep t of the network stands for sigmas[t].
        timescale: timestep of sigma 1, for flows.

    Raises:
        InputError: an unknown prediction, or levels that do not rise.
    """

    prediction: str
    sigmas: Tensor
    timescale: float = 1000.0

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise InputError(
                f"The model predicts '{self.prediction}'; this works with {', '.join(PREDICTIONS)} prediction."
            )
        if self.sigmas.ndim != 1 or len(self.sigmas) < 2 or not bool((self.sigmas.diff() > 0).all()):
            raise InputError("The noise levels of a model have to rise from one timestep to the next.")

    @classmethod
    def discrete(
        cls,
        prediction: str = "epsilon",
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        curve: str = "scaled_linear",  # or "linear"
        steps: int = 1000,
    ) -> NoiseSchedule:
        """The schedule of Stable Diffusion 1 and 2 and SDXL, or another of its kind.

        Raises:
            InputError: an unknown curve.
        """
        if curve not in ("scaled_linear", "linear"):
            raise InputError(f"The noise schedule '{curve}' is unknown; expected scaled_linear or linear.")
        root = 0.5 if curve == "scaled_linear" else 1.0
        betas = torch.linspace(beta_start**root, beta_end**root, steps, dtype=torch.float64) ** (1 / root)
        kept = torch.cumprod(1 - betas, dim=0)
        return cls(prediction, ((1 - kept) / kept).sqrt().float())

    @classmethod
    def flow(cls, shift: float = 1.0, steps: int = 1000) -> NoiseSchedule:
        """Rectified flow; ``shift`` moves the levels toward noise, as Stable Diffusion 3 does (2403.03206)."""
        u = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        return cls("flow", (shift * u / (1 + (shift - 1) * u)).float(), float(steps))

    @property
    def is_flow(self) -> bool:
        """Whether noise replaces the picture (flows) instead of being added to it."""
        return self.prediction == "flow"

    def at(self, u: Tensor) -> Tensor:
        """Noise levels at the shares ``u`` [B] of the way from the least (0) to the most noise (1), [B]."""
        place = u.clamp(0, 1).to(self.sigmas) * (len(self.sigmas) - 1)
        low = place.floor().long().clamp(max=len(self.sigmas) - 2)
        logs = self.sigmas.log()
        return torch.lerp(logs[low], logs[low + 1], place - low).exp().to(u.device)

    def timestep(self, sigma: Tensor) -> Tensor:
        """What the network is told for noise levels [B]: the nearest trained timestep, or a flow's own time."""
        if self.is_flow:
            return sigma * self.timescale
        levels = self.sigmas.to(sigma.device).log()
        return (sigma.log()[:, None] - levels[None]).abs().argmin(dim=1).float()

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """x0 and noise [B, ...] at noise levels [B] -> [B, ...]."""
        sigma = _like(sigma, x0)
        return (1 - sigma) * x0 + sigma * noise if self.is_flow else x0 + sigma * noise

    def network_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """What enters the network, of unit variance."""
        return x if self.is_flow else x / (_like(sigma, x).square() + 1).sqrt()

    def denoised(self, x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
        """The picture x0 that an output stands for."""
        sigma = _like(sigma, x)
        if self.prediction == "v_prediction":
            return x / (sigma.square() + 1) - output * sigma / (sigma.square() + 1).sqrt()
        return x - output * sigma

    def output_gain(self, sigma: Tensor) -> Tensor:
        """d(x0) / d(output) at noise levels [B]: an error of x0 divided by it is an error of the network, [B]."""
        return -sigma / (sigma.square() + 1).sqrt() if self.prediction == "v_prediction" else -sigma


def _like(sigma: Tensor, x: Tensor) -> Tensor:
    return sigma.to(x).reshape(-1, *[1] * (x.ndim - 1))
