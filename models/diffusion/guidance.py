"""Classifier-free guidance (2207.12598) and Euler's step (2206.00364), for every sampler here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["CFGDenoiser", "euler_step"]


class _Denoiser(Protocol):
    def condition(self, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...]) -> Any: ...

    def denoise(self, x: Tensor, sigma: Tensor, condition: Any) -> Tensor: ...


class CFGDenoiser:
    """A denoiser that is guided toward one conditioning and away from another.

    Args:
        model: a `DiffusionModel`, or anything with its `condition` and `denoise`.
        positive, negative: (embedding [1, T, D], extras).
        cfg: guidance; at 1 the negative one is not looked at.
        shape: of the latents, [B, C, h, w].
    """

    def __init__(
        self,
        model: _Denoiser,
        positive: tuple[Tensor, Mapping[str, Any]],
        negative: tuple[Tensor, Mapping[str, Any]],
        cfg: float,
        shape: tuple[int, ...],
    ) -> None:
        self.model, self.cfg = model, cfg
        self.negative_model = getattr(model, "unheld", model)  # attention is held under the positive one alone
        self.positive = model.condition(*positive, tuple(shape))
        self.negative = None if math.isclose(cfg, 1.0) else model.condition(*negative, tuple(shape))

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the denoised latents [B, C, h, w] of noisy ones x [B, C, h, w] at one noise level sigma [] or [1]."""
        with torch.no_grad():
            sigma = sigma.expand(len(x))
            positive = self.model.denoise(x, sigma, self.positive)
            if self.negative is None:
                return positive
            negative = self.negative_model.denoise(x, sigma, self.negative)
        return negative + (positive - negative) * self.cfg


def euler_step(x: Tensor, denoised: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Take one step of dx / dsigma = (x - denoised) / sigma, in either direction.

    Args:
        x, denoised: [B, C, h, w] at the noise level sigma [].
        sigma_next: []; below sigma on the way to a picture, above on the way to noise.
    """
    d = (x - denoised) / sigma
    return x + d * (sigma_next - sigma)
