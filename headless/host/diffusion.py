"""The headless `DiffusionBackend`: models from diffusers folders, run by `models.diffusion`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ... import host
from ...editing.common.diffusion.ode_inversion import down_to_least_noise, invert_to_noise, step_counter, unit_noise
from ...editing.common.progress import Progress, silent
from ...editing.imagic.conditioning import single_conditioning
from ...editing.imagic.sampling import Sampling
from ...models.diffusion.held_attention import hold_attention
from ...models.diffusion.lora import with_lora
from ...models.diffusion.model import DiffusionModel
from ...models.diffusion.text import TextEncoder
from ...models.diffusion.vae import VAE
from ...models.inference import no_inference_mode

__all__ = ["HeadlessDiffusion"]


class HeadlessDiffusion:
    """Runs `models.diffusion`: MODEL is a `DiffusionModel`, CLIP a `TextEncoder`, VAE a `VAE`."""

    def samplers(self) -> list[str]:
        """Return the names of the samplers."""
        from ...models.diffusion.sampling import SAMPLERS

        return list(SAMPLERS)

    def schedulers(self) -> list[str]:
        """Return the names of the noise schedules."""
        from ...models.diffusion.sampling import SCHEDULES

        return list(SCHEDULES)

    def load_pipeline(self, folder: Path) -> tuple[DiffusionModel, TextEncoder, VAE]:
        """Return the counterparts of MODEL, CLIP and VAE from a diffusers folder, on the host's device.

        Raises:
            InputError: when a file is missing, damaged, or of a kind that is read inside ComfyUI only.
        """
        from ...models.diffusion.folder import load_diffusion

        bundle = load_diffusion(folder, host.current().device())
        return bundle.model, bundle.clip, bundle.vae

    def denoiser(self, model: DiffusionModel) -> DiffusionModel:
        """Return the model itself, which is a `Denoiser` already, on the host's device."""
        host.current().place(model.network)
        return model

    def apply_lora(self, model: DiffusionModel, lora: Mapping[str, Tensor], strength: float = 1.0) -> DiffusionModel:
        """Return a new model with ``strength`` times the changes of a LoRA; the one given stays as it was.

        Raises:
            InputError: when tensors belong to no layer of this model.
        """
        with no_inference_mode():
            return with_lora(model, lora, strength)

    def hold_attention(self, model: DiffusionModel, conditioning: list, share: float) -> DiffusionModel:
        """Return a new model that attends as under a conditioning in the first ``share`` of the trained timesteps.

        Args:
            conditioning: CONDITIONING of one entry.
            share: 0..1; 0 holds nothing.

        Raises:
            InputError: when the conditioning is not one entry, or the network has no self-attention of a known kind.
        """
        reference = single_conditioning(conditioning, "optimised")
        return hold_attention(model, (reference.embedding, reference.extras), share)

    def sample(
        self,
        model: DiffusionModel,
        positive: list,
        negative: list,
        latent: Tensor,  # [B, C, h, w]
        sampling: Sampling,
        seed: int,
        mask: Tensor | None = None,  # [B or 1, H, W]
        indices: list[int] | None = None,
        noise: Tensor | None = None,  # [B, C, h, w]
    ) -> Tensor:
        """Return what KSampler returns for these inputs: latents [B, C, h, w]; interruptible at each step."""
        host.current().place(model.network)
        from ...models.diffusion.sampling import sample

        return sample(
            model, latent, positive, negative, seed=seed, steps=sampling.steps, cfg=sampling.cfg,
            sampler=sampling.sampler, scheduler=sampling.scheduler, denoise=sampling.denoise, mask=mask,
            indices=indices, progress=lambda step, total, preview=None: host.current().check_interrupt(), noise=noise,
        )  # fmt: skip

    def photo_noise(
        self,
        model: DiffusionModel,
        conditioning: list,
        latent: Tensor,  # [B, C, h, w]
        sampling: Sampling,
        refinements: int = 2,
        progress: Progress = silent,
    ) -> Tensor:
        """Return the noise from which `sample` makes the latents [B, C, h, w] again; see `DiffusionBackend`."""
        host.current().place(model.network)
        from ...models.diffusion.sampling import calculate_sigmas, check_conditioning, initial_noise

        check_conditioning("negative", conditioning)
        model = getattr(model, "unheld", model)  # attention is held under the positive conditioning alone
        sigmas = calculate_sigmas(model, sampling.scheduler, sampling.steps, sampling.denoise)
        levels = down_to_least_noise(sigmas, model.sigma_min).to(model.device)
        x0 = model.latent_in(latent)
        condition = model.condition(*conditioning[0], tuple(x0.shape))

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            host.current().check_interrupt()
            return model.denoise(x, sigma.expand(len(x)), condition)

        with torch.no_grad():
            x = invert_to_noise(denoise, x0, levels, refinements, step_counter(progress, len(levels) - 2))
        return unit_noise(x, x0, lambda x0, noise: initial_noise(model, x0, noise, levels[0])).cpu()

    def encode(self, vae: VAE, images: Tensor) -> Tensor:
        """Return the latents [B, C, h, w] of pictures [B, H, W, 3] in 0..1."""
        host.current().place(vae.network)
        return vae.encode(images)

    def decode(self, vae: VAE, latent: Tensor) -> Tensor:
        """Return the pictures [B, H, W, 3] in 0..1 of latents [B, C, h, w]."""
        host.current().place(vae.network)
        return vae.decode(latent)

    def free_memory(self, device: torch.device) -> int | None:
        """Return the bytes that are free on a device, None where the system does not say."""
        if device.type == "cuda":
            return int(torch.cuda.mem_get_info(device)[0])
        try:
            with open("/proc/meminfo", encoding="ascii") as file:
                line = next((line for line in file if line.startswith("MemAvailable:")), "")
            return int(line.split()[1]) * 1024
        except (OSError, IndexError, ValueError):
            return None
