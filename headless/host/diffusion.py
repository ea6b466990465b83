"""The headless host's side of diffusion models: what `host_diffusion` does for ComfyUI's, for those of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import host
from ...editing.imagic.sampling import Sampling
from ...models.diffusion.lora import with_lora
from ...models.diffusion.model import DiffusionModel
from ...models.diffusion.pictures import PictureCoder
from ...models.diffusion.text import TextEncoder
from ...models.inference import no_inference_mode

__all__ = ["HeadlessDiffusion"]


class HeadlessDiffusion:
    """Native objects are those of `models.diffusion`."""

    def samplers(self) -> list[str]:
        """Names of the samplers."""
        from ...models.diffusion.sampling import SAMPLERS

        return list(SAMPLERS)

    def schedulers(self) -> list[str]:
        """Names of the noise schedules."""
        from ...models.diffusion.sampling import SCHEDULES

        return list(SCHEDULES)

    def open(self, folder: Path) -> tuple[DiffusionModel, TextEncoder, PictureCoder]:
        """The counterparts of MODEL, CLIP and VAE from a diffusers folder, on the host's device."""
        from ...models.diffusion.folder import load_diffusion

        bundle = load_diffusion(folder, host.current().device())
        return bundle.model, bundle.clip, bundle.vae

    def denoiser(self, model: DiffusionModel) -> DiffusionModel:
        """The model itself, which already has what the methods need, on the host's device."""
        host.current().place(model.network)
        return model

    def tuned(self, model: DiffusionModel, lora: Mapping[str, Tensor], strength: float = 1.0) -> DiffusionModel:
        """A new model with the changes of a LoRA; the one given is as it was."""
        with no_inference_mode():
            return with_lora(model, lora, strength)

    def sample(
        self,
        model: DiffusionModel,
        positive: list,
        negative: list,
        latent: Tensor,
        sampling: Sampling,
        seed: int,
        mask: Tensor | None = None,
        indices: list[int] | None = None,
    ) -> Tensor:
        """What KSampler returns for these inputs: a latent like the one given; its noise_mask and batch_index aside."""
        host.current().place(model.network)
        from ...models.diffusion.sampling import sample

        return sample(
            model, latent, positive, negative, seed=seed, steps=sampling.steps, cfg=sampling.cfg,
            sampler=sampling.sampler, scheduler=sampling.scheduler, denoise=sampling.denoise, mask=mask,
            indices=indices, progress=lambda step, total: host.current().check_interrupt(),
        )  # fmt: skip

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Pictures [B, H, W, 3] in 0..1 as a latent."""
        host.current().place(vae.network)
        return vae.encode(images)

    def decode(self, vae: Any, latent: Tensor) -> Tensor:
        """A latent as pictures [B, H, W, 3] in 0..1."""
        host.current().place(vae.network)
        return vae.decode(latent)

    def free_memory(self, device: torch.device) -> int | None:
        """Bytes free on a device, None where that is not told."""
        if device.type == "cuda":
            return int(torch.cuda.mem_get_info(device)[0])
        try:
            with open("/proc/meminfo", encoding="ascii") as file:
                found = next((line for line in file if line.startswith("MemAvailable:")), "")
            return int(found.split()[1]) * 1024
        except (OSError, IndexError, ValueError):
            return None
