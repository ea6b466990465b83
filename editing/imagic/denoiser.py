"""What a diffusion model looks like to the methods here: denoised pictures, noise levels, and weights to adapt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["Denoiser"]


class Denoiser(Protocol):
    """A diffusion model, whichever host runs it.

    Latents are [B, C, h, w] (or [B, C, f, h, w]) float32 on `device`, noise levels sigma [B].
    """

    name: str
    network: nn.Module  # its weights are never changed beyond `training`; layers are adapted by hooks

    @property
    def device(self) -> torch.device:
        """Where the network is."""

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""

    @property
    def sigma_min(self) -> float:
        """The least noise the network knows."""

    @property
    def sigma_max(self) -> float:
        """The most noise the network knows."""

    def latent_in(self, latent: Tensor) -> Tensor:
        """A VAE's latent as the network sees it; InputError where it does not fit."""

    def latent_out(self, x: Tensor) -> Tensor:
        """The inverse of `latent_in`."""

    def sigmas_at(self, u: Tensor) -> Tensor:
        """Noise levels at shares u of the trained timesteps, 0 the least noise, 1 the most."""

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """x0 with noise at these levels."""

    def output_gain(self, sigma: Tensor) -> Tensor:
        """d(x0 estimate) / d(network's output), [B]."""

    def condition(self, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
        """One CONDITIONING entry, made ready; gradients flow to the embedding and to extras["pooled_output"]."""

    def denoise(self, x: Tensor, sigma: Tensor, condition: Any) -> Tensor:
        """x0 estimates, float32, differentiable."""

    def lora_name(self, layer: str) -> str:
        """The name of a layer of `network` in LoRA files."""

    def preview(self, x0: Tensor) -> Tensor:
        """A denoised latent [1, C, h, w] as a rough picture [3, h, w] in 0..1."""

    def training(self) -> AbstractContextManager[None]:
        """Gradients may be taken inside; afterwards the model is as it was, whatever happened."""
