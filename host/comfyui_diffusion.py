"""ComfyUI's diffusion models behind `DiffusionBackend`: MODEL, CLIP, VAE and LoRA, native objects in and out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..editing.common.diffusion.ode_inversion import down_to_least_noise, invert_to_noise, step_counter, unit_noise
from ..editing.common.progress import Progress, silent
from ..editing.imagic.conditioning import single_conditioning
from ..editing.imagic.sampling import Sampling
from .comfyui_attention import hold_attention
from .comfyui_denoiser import ComfyDenoiser
from .comfyui_lora import apply_lora

__all__ = ["ComfyDiffusion"]


class ComfyDiffusion:
    """ComfyUI's `DiffusionBackend`: MODEL is a ModelPatcher, CLIP and VAE are those of `comfy.sd`."""

    def samplers(self) -> list[str]:
        """Return the names of KSampler's samplers."""
        import comfy.samplers

        return list(comfy.samplers.KSampler.SAMPLERS)

    def schedulers(self) -> list[str]:
        """Return the names of KSampler's noise schedules."""
        import comfy.samplers

        return list(comfy.samplers.KSampler.SCHEDULERS)

    def load_pipeline(self, folder: Path) -> tuple[Any, Any, Any]:
        """Return MODEL, CLIP and VAE from the diffusers folder of a small Stable Diffusion 1.x.

        Raises:
            InputError: when a file is missing, or a weight has no counterpart in ComfyUI's networks.
        """
        from .comfyui_checkpoint import load_pipeline

        return load_pipeline(folder)

    def denoiser(self, model: Any) -> ComfyDenoiser:
        """Return a MODEL, loaded in full, ready for gradients.

        Raises:
            InputError: when it does not fit the memory as a whole.
        """
        return ComfyDenoiser(model)

    def apply_lora(self, model: Any, lora: Mapping[str, Tensor], strength: float = 1.0) -> Any:
        """Return a new MODEL with ``strength`` times the changes of a LoRA; the one given stays as it was.

        Args:
            model: a ModelPatcher.
            lora: tensors of a LoRA file by their names.
            strength: any number; 0 changes nothing.

        Raises:
            InputError: when tensors belong to no weight of this model.
        """
        return apply_lora(model, lora, strength)

    def hold_attention(self, model: Any, conditioning: list, share: float) -> Any:
        """Return a new MODEL that attends as under a conditioning in the first ``share`` of the trained timesteps.

        Args:
            model: a ModelPatcher; it stays as it was.
            conditioning: CONDITIONING of one entry.
            share: 0..1; 0 holds nothing.

        Raises:
            InputError: when the conditioning is not one entry.
        """
        return hold_attention(model, single_conditioning(conditioning, "optimised"), share)

    def sample(
        self,
        model: Any,
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
        import comfy.sample

        latent = comfy.sample.fix_empty_latent_channels(model, latent)
        if noise is None:
            noise = comfy.sample.prepare_noise(latent, seed, indices)
        return comfy.sample.sample(
            model, noise, sampling.steps, sampling.cfg, sampling.sampler, sampling.scheduler, positive, negative,
            latent, denoise=sampling.denoise, noise_mask=mask, disable_pbar=True, seed=seed,
            callback=self._check_interrupt,
        )  # fmt: skip

    def photo_noise(
        self,
        model: Any,
        conditioning: list,
        latent: Tensor,  # [B, C, h, w]
        sampling: Sampling,
        refinements: int = 2,
        progress: Progress = silent,
    ) -> Tensor:
        """Return the noise from which `sample` makes the latents [B, C, h, w] again; see `DiffusionBackend`.

        The ODE runs backwards inside of ComfyUI's own sampling, so that models in parts, masks of conditionings and
        patches work as they do forwards.
        """
        import comfy.sample
        import comfy.samplers

        latent = comfy.sample.fix_empty_latent_channels(model, latent)
        model_sampling = model.get_model_object("model_sampling")
        sigmas = comfy.samplers.KSampler(
            model, sampling.steps, model.load_device, sampling.sampler, sampling.scheduler, sampling.denoise,
            model.model_options,
        ).sigmas  # fmt: skip
        levels = down_to_least_noise(sigmas.float(), float(model_sampling.sigma_min))
        inverted = []

        def invert(denoiser: Any, x: Tensor, rising: Tensor, extra_args: dict | None = None, **_: Any) -> Tensor:
            def denoise(x: Tensor, sigma: Tensor) -> Tensor:
                self._check_interrupt()
                return denoiser(x, sigma.expand(len(x)), **(extra_args or {}))

            report = step_counter(progress, len(rising) - 1)
            falling = torch.cat([rising.flip(0), rising.new_zeros(1)])
            inverted.append(invert_to_noise(denoise, x, falling, refinements, report))
            return x  # ComfyUI divides what a sampler returns by the share of the picture, which is none at full noise

        comfy.sample.sample_custom(
            model, torch.zeros_like(latent), 1.0, comfy.samplers.KSAMPLER(invert), levels[:-1].flip(0), conditioning,
            conditioning, latent, disable_pbar=True,
        )  # fmt: skip
        x = inverted[0]
        x0, sigma = model.model.process_latent_in(latent.to(x)), levels[0].to(x.device)
        full = math.isclose(float(model_sampling.sigma_max), float(sigma), rel_tol=1e-5) or bool(
            sigma > model_sampling.sigma_max
        )
        noise = unit_noise(x, x0, lambda x0, noise: model_sampling.noise_scaling(sigma, noise, x0, full))
        return noise.cpu()

    def _check_interrupt(self, *_: Any) -> None:
        import comfy.model_management

        comfy.model_management.throw_exception_if_processing_interrupted()

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Return the latents [B, C, h, w] of pictures [B, H, W, 3] in 0..1."""
        return vae.encode(images[..., :3])

    def decode(self, vae: Any, latent: Tensor) -> Tensor:
        """Return the pictures [B, H, W, 3] in 0..1 of latents [B, C, h, w]."""
        return rearrange(vae.decode(latent), "... h w c -> (...) h w c")

    def free_memory(self, device: torch.device) -> int | None:
        """Return the bytes that ComfyUI counts as free on a device."""
        import comfy.model_management

        return int(comfy.model_management.get_free_memory(device))
