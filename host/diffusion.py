"""The interface of a host's diffusion side: MODEL, CLIP, VAE and LoRA, as the Imagic methods use them.

The objects themselves are the host's own: ComfyUI's, or those of `models.diffusion`. Nodes pass them on unopened.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ..editing.common.diffusion.denoiser import Denoiser
from ..editing.common.progress import Progress, silent
from ..editing.imagic.sampling import Sampling

__all__ = ["DiffusionBackend"]


class DiffusionBackend(Protocol):
    """Runs diffusion models on one host."""

    def samplers(self) -> list[str]:
        """Return the names of the samplers."""

    def schedulers(self) -> list[str]:
        """Return the names of the noise schedules."""

    def load_pipeline(self, folder: Path) -> tuple[Any, Any, Any]:
        """Return MODEL, CLIP and VAE of a diffusers folder.

        Raises:
            InputError: when a file is missing, damaged, or of a kind that this host does not read.
        """

    def denoiser(self, model: Any) -> Denoiser:
        """Return a MODEL ready for gradients, in full on the host's device.

        Raises:
            InputError: when it does not fit the memory as a whole.
        """

    def apply_lora(self, model: Any, lora: Mapping[str, Tensor], strength: float = 1.0) -> Any:
        """Return a new MODEL with ``strength`` times the changes of a LoRA; the one given stays as it was.

        Args:
            model: the host's MODEL.
            lora: tensors of a LoRA file by their names: up [out, r], down [r, in], alpha [], diff, diff_b.
            strength: any number; 0 changes nothing.

        Raises:
            InputError: when tensors belong to no weight of this model.
        """

    def hold_attention(self, model: Any, conditioning: list, share: float) -> Any:
        """Return a new MODEL that attends as under a conditioning in the first ``share`` of the trained timesteps.

        Args:
            model: the host's MODEL; it stays as it was.
            conditioning: CONDITIONING of one entry.
            share: 0..1; 0 holds nothing.

        Raises:
            InputError: when the conditioning is not one entry, or the network has no self-attention of a known kind.
        """

    def sample(
        self,
        model: Any,
        positive: list,  # CONDITIONING: [[embedding [1, T, D], extras], ...]
        negative: list,
        latent: Tensor,  # [B, C, h, w], as the VAE makes them; all zero for a new picture
        sampling: Sampling,
        seed: int,
        mask: Tensor | None = None,  # [B or 1, H, W], 1 where the latent may change (a LATENT's noise_mask)
        indices: list[int] | None = None,  # a LATENT's batch_index
        noise: Tensor | None = None,  # [B, C, h, w], in place of the seed's
    ) -> Tensor:
        """Return what KSampler returns for these inputs: latents [B, C, h, w]; interruptible at each step."""

    def photo_noise(
        self,
        model: Any,
        conditioning: list,
        latent: Tensor,  # [B, C, h, w], as the VAE makes them
        sampling: Sampling,
        refinements: int = 2,
        progress: Progress = silent,
    ) -> Tensor:
        """Return the noise [B, C, h, w] from which `sample` makes the latents again under this conditioning at cfg 1.

        Args:
            model: the host's MODEL.
            conditioning: what the sampling takes for its negative; then guidance begins with the photo.
            sampling: of the run that the noise is for: its levels count.
            refinements: times each step toward noise is solved again.
        """

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Return the latents [B, C, h, w] of pictures [B, H, W, 3] in 0..1."""

    def decode(self, vae: Any, latent: Tensor) -> Tensor:
        """Return the pictures [B, H, W, 3] in 0..1 of latents [B, C, h, w]."""

    def free_memory(self, device: torch.device) -> int | None:
        """Return the bytes that are free on a device, None where the system does not say."""
