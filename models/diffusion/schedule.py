"""Noise schedules and parameterizations: a diffusion network's output, its noise level and its timestep.

Everything is in sigma, the standard deviation of the noise in the latent, as samplers do (Karras et al.,
2206.00364): ``x0 + sigma * noise`` for epsilon and v prediction, ``(1 - sigma) * x0 + sigma * noise`` for flows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError, check_choice

__all__ = ["PREDICTIONS", "NoiseSchedule"]

PREDICTIONS = ("epsilon", "v_prediction", "flow")


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels a network was trained at, and its prediction type.

    Args:
        prediction: one of PREDICTIONS.
        sigmas: [T] rising noise levels; timestep t of the network stands for sigmas[t].
        timescale: timestep of sigma 1, for flows.

    Raises:
        InputError: when the prediction is unknown, or the levels do not rise.
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
        """Make the schedule of Stable Diffusion 1 and 2 and SDXL, or another of its kind.

        Args:
            prediction: one of PREDICTIONS.
            beta_start, beta_end: of the first and the last timestep.
            curve: the betas themselves rise linearly, or their roots do ("scaled_linear").
            steps: timesteps.

        Raises:
            InputError: when the curve is unknown.
        """
        check_choice("noise schedule", curve, ("scaled_linear", "linear"))
        root = 0.5 if curve == "scaled_linear" else 1.0
        betas = torch.linspace(beta_start**root, beta_end**root, steps, dtype=torch.float64) ** (1 / root)
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        return cls(prediction, ((1 - alphas_cumprod) / alphas_cumprod).sqrt().float())

    @classmethod
    def flow(cls, shift: float = 1.0, steps: int = 1000) -> NoiseSchedule:
        """Make a rectified flow; ``shift`` moves the levels toward noise, as Stable Diffusion 3 does (2403.03206)."""
        u = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        return cls("flow", (shift * u / (1 + (shift - 1) * u)).float(), float(steps))

    @property
    def is_flow(self) -> bool:
        """Tell whether noise replaces the picture (flows) instead of being added to it."""
        return self.prediction == "flow"

    def sigmas_at(self, u: Tensor) -> Tensor:
        """Return the noise levels [B] at shares u [B] of the trained timesteps, 0 the least noise, 1 the most."""
        timestep = u.clamp(0, 1).to(self.sigmas) * (len(self.sigmas) - 1)
        low = timestep.floor().long().clamp(max=len(self.sigmas) - 2)
        log_sigmas = self.sigmas.log()
        return torch.lerp(log_sigmas[low], log_sigmas[low + 1], timestep - low).exp().to(u.device)

    def timestep(self, sigma: Tensor) -> Tensor:
        """Return the network's timesteps [B] for noise levels [B]: the nearest trained ones, or a flow's own time."""
        if self.is_flow:
            return sigma * self.timescale
        log_sigmas = self.sigmas.to(sigma.device).log()
        return (sigma.log()[:, None] - log_sigmas[None]).abs().argmin(dim=1).float()

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Return x0 with noise [B, ...] at noise levels sigma [B]: [B, ...]."""
        sigma = _broadcast(sigma, x0)
        return (1 - sigma) * x0 + sigma * noise if self.is_flow else x0 + sigma * noise

    def network_input(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Scale noisy latents x [B, ...] at noise levels sigma [B] to unit variance, as the network takes them."""
        return x if self.is_flow else x / (_broadcast(sigma, x).square() + 1).sqrt()

    def denoised(self, x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
        """Return the denoised latents [B, ...] that the network's output [B, ...] for x [B, ...] stands for.

        Args:
            x: noisy latents [B, ...].
            output: of the network, [B, ...].
            sigma: noise levels [B].
        """
        sigma = _broadcast(sigma, x)
        if self.prediction == "v_prediction":
            return x / (sigma.square() + 1) - output * sigma / (sigma.square() + 1).sqrt()
        return x - output * sigma

    def output_gain(self, sigma: Tensor) -> Tensor:
        """Return d(denoised) / d(output) at noise levels [B], [B]: an error of x0 over it is one of the network."""
        return -sigma / (sigma.square() + 1).sqrt() if self.prediction == "v_prediction" else -sigma


def _broadcast(sigma: Tensor, x: Tensor) -> Tensor:
    return sigma.to(x).reshape(-1, *[1] * (x.ndim - 1))
