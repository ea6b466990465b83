"""The denoiser interface (k-diffusion's sense): denoised latents, noise levels sigma, and weights to adapt."""

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
        """Return the device that the network works on."""

    @property
    def dtype(self) -> torch.dtype:
        """Return the type that the network computes in."""

    @property
    def sigma_min(self) -> float:
        """Return the lowest noise level the network knows."""

    @property
    def sigma_max(self) -> float:
        """Return the highest noise level the network knows."""

    def latent_in(self, latent: Tensor) -> Tensor:
        """Scale a VAE's latent [B, C, h, w] for the network.

        Raises:
            InputError: when it does not fit the network.
        """

    def latent_out(self, x: Tensor) -> Tensor:
        """Undo `latent_in`."""

    def sigmas_at(self, u: Tensor) -> Tensor:
        """Return the noise levels [B] at shares u [B] of the trained timesteps, 0 the least noise, 1 the most."""

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Return x0 with noise [B, C, h, w] at noise levels sigma [B]: [B, C, h, w]."""

    def output_gain(self, sigma: Tensor) -> Tensor:
        """Return d(denoised) / d(network output) at noise levels sigma [B]: [B]."""

    def condition(self, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
        """Turn one CONDITIONING entry into the network's arguments.

        Gradients flow to the embedding and to extras["pooled_output"].

        Args:
            embedding: [1, T, D].
            extras: the entry's dictionary.
            shape: of the latents, [B, C, h, w].

        Raises:
            InputError: when it comes from the text encoder of another model.
        """

    def takes_references(self, condition: Any) -> bool:
        """Tell whether a condition holds the reference latents of its entry: whether the network edits pictures."""

    def denoise(self, x: Tensor, sigma: Tensor, condition: Any) -> Tensor:
        """Return the denoised latents [B, C, h, w], float32, of noisy ones x [B, C, h, w] at noise levels sigma [B].

        Differentiable.
        """

    def lora_name(self, layer: str) -> str:
        """Return the name of a layer of `network` in LoRA files."""

    def preview(self, x0: Tensor) -> Tensor:
        """Turn a denoised latent [1, C, h, w] into a rough picture [3, h, w] in 0..1."""

    def training(self) -> AbstractContextManager[None]:
        """Allow gradients to be taken inside; afterwards the model is as it was, whatever happened."""
