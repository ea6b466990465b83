"""ComfyUI's own diffusion models, as the Imagic methods see them: MODEL, VAE and LoRA, native objects in and out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..editing.imagic.sampling import Sampling
from ..models.errors import InputError
from ..models.inference import clone_from_inference, no_inference_mode

__all__ = ["ComfyDenoiser", "ComfyDiffusion"]

_PREFIX = "diffusion_model."  # of the network, among ComfyUI's weights


class ComfyDiffusion:
    """The part of the ComfyUI host that deals with diffusion models."""

    def samplers(self) -> list[str]:
        """Names of the samplers."""
        import comfy.samplers

        return list(comfy.samplers.KSampler.SAMPLERS)

    def schedulers(self) -> list[str]:
        """Names of the noise schedules."""
        import comfy.samplers

        return list(comfy.samplers.KSampler.SCHEDULERS)

    def open(self, folder: Path) -> tuple[Any, Any, Any]:
        """MODEL, CLIP and VAE from the diffusers folder of a small Stable Diffusion 1.x."""
        from .comfyui_checkpoint import open_diffusion

        return open_diffusion(folder)

    def denoiser(self, model: Any) -> ComfyDenoiser:
        """A MODEL, loaded in full, ready for gradients.

        Raises:
            InputError: it does not fit the memory as a whole, or is stored in a form without gradients.
        """
        return ComfyDenoiser(model)

    def tuned(self, model: Any, lora: Mapping[str, Tensor], strength: float = 1.0) -> Any:
        """A new MODEL with the changes of a LoRA; the one given is as it was.

        Raises:
            InputError: tensors that belong to no weight of this model.
        """
        import comfy.lora
        import comfy.lora_convert

        keys = comfy.lora.model_lora_keys_unet(model.model, {})
        strange = [key for key in lora if not any(key.startswith(f"{name}.") for name in _stems(key, keys))]
        if strange:
            raise InputError(
                f"{len(strange)} of {len(lora)} tensors of the LoRA belong to no weight of this model, such as "
                f"'{strange[0]}': it was made for another model."
            )
        patches = comfy.lora.load_lora(dict(lora), keys)
        tuned = model.clone()
        tuned.add_patches(patches, strength)
        return tuned

    def sample(
        self,
        model: Any,
        positive: list,
        negative: list,
        latent: Tensor,
        sampling: Sampling,
        seed: int,
        mask: Tensor | None = None,
        indices: list[int] | None = None,
    ) -> Tensor:
        """What KSampler returns for these inputs: a latent like the one given; its noise_mask and batch_index aside."""
        import comfy.sample

        latent = comfy.sample.fix_empty_latent_channels(model, latent)
        noise = comfy.sample.prepare_noise(latent, seed, indices)
        return comfy.sample.sample(
            model, noise, sampling.steps, sampling.cfg, sampling.sampler, sampling.scheduler, positive, negative,
            latent, denoise=sampling.denoise, noise_mask=mask, disable_pbar=True, seed=seed, callback=self._check,
        )  # fmt: skip

    def _check(self, *_: Any) -> None:
        import comfy.model_management

        comfy.model_management.throw_exception_if_processing_interrupted()

    def encode(self, vae: Any, images: Tensor) -> Tensor:
        """Pictures [B, H, W, 3] in 0..1 as a latent."""
        return vae.encode(images[..., :3])

    def decode(self, vae: Any, latent: Tensor) -> Tensor:
        """A latent as pictures [B, H, W, 3] in 0..1."""
        images = vae.decode(latent)
        return images.reshape(-1, *images.shape[-3:])

    def free_memory(self, device: torch.device) -> int | None:
        """Bytes free on a device."""
        import comfy.model_management

        return int(comfy.model_management.get_free_memory(device))


class ComfyDenoiser:
    """A MODEL of any kind: what it denoises is affine in its network's output, whatever that predicts.

    Args:
        model: ComfyUI's ModelPatcher; its own patches (LoRAs of the user) are in force while it is loaded.

    Raises:
        InputError: partly loaded, or weights without gradients.
    """

    def __init__(self, model: Any) -> None:
        import comfy.model_management as management

        if getattr(model, "is_dynamic", bool)():  # newer cores bring weights over when an operation asks for them
            model = model.clone(disable_dynamic=True)
        self.patcher, self._management = model, management
        self._load()
        self.base = model.model
        self.network = self.base.diffusion_model
        self.name = type(self.base).__name__
        self.sampling = model.get_model_object("model_sampling")
        self._check_weights()

    def _load(self) -> None:
        device, whole = self.patcher.load_device, self.patcher.model_size()
        on_card = device.type != "cpu"
        if on_card:
            missing = whole - self.patcher.loaded_size()
            if missing > 0.02 * whole:
                self._management.free_memory(1e30, device)  # everything else can come back when it is needed
            free = self._management.get_free_memory(device)
            if missing > free:
                self._refuse(whole, free)
        with no_inference_mode():
            # As much room as there is: what else is loaded would only be in the way of the gradients.
            room = 1e20 if on_card else 0
            self._management.load_models_gpu([self.patcher], memory_required=room, force_full_load=True)
        if on_card and self.patcher.loaded_size() < 0.98 * whole:
            self._refuse(whole, self._management.get_free_memory(device))

    def _refuse(self, whole: int, free: int) -> None:
        raise InputError(
            f"The model needs {whole / 2**20:.0f} MB on {self.patcher.load_device} in one piece, and "
            f"{free / 2**20:.0f} MB are free; a model that is loaded in parts has no gradients. Free memory, start "
            "ComfyUI without --lowvram and --novram or with --cpu, or use a smaller model."
        )

    def _check_weights(self) -> None:
        plain = (torch.float32, torch.float16, torch.bfloat16)
        for name, weight in self.network.named_parameters():
            if weight.dtype not in plain or type(weight.data) is not Tensor:
                kind = str(weight.dtype).removeprefix("torch.")
                raise InputError(
                    f"The model's weight '{name}' is stored as {kind} ({type(weight.data).__name__}), which has no "
                    "gradient. Load the model unquantised: weight_dtype float16, bfloat16 or default."
                )

    @property
    def device(self) -> torch.device:
        return self.patcher.load_device

    @property
    def dtype(self) -> torch.dtype:
        return self.base.manual_cast_dtype or self.base.get_dtype()

    @property
    def sigma_min(self) -> float:
        return float(self.sampling.sigma_min)

    @property
    def sigma_max(self) -> float:
        return float(self.sampling.sigma_max)

    def latent_in(self, latent: Tensor) -> Tensor:
        form = self.patcher.get_model_object("latent_format")
        if latent.ndim == 4 and getattr(form, "latent_dimensions", 2) == 3:
            latent = latent[:, :, None]  # of models that also make films
        if latent.ndim not in (4, 5) or latent.shape[1] != form.latent_channels:
            raise InputError(
                f"The latent has shape {list(latent.shape)}; this {self.name} model works on {form.latent_channels} "
                "channels: encode the picture with the VAE of the same model."
            )
        return clone_from_inference(
            self.base.process_latent_in(clone_from_inference(latent.to(self.device, torch.float32)))
        )

    def latent_out(self, x: Tensor) -> Tensor:
        return self.base.process_latent_out(x)

    def sigmas_at(self, u: Tensor) -> Tensor:
        shares = (1 - u).clamp(1e-4, 1 - 1e-4)  # the ends stand for "no limit" in ComfyUI
        found = [float(self.sampling.percent_to_sigma(float(share))) for share in shares]
        return torch.tensor(found, device=self.device).clamp(self.sigma_min, self.sigma_max)

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        return self.sampling.noise_scaling(sigma, noise, x0, False)

    def output_gain(self, sigma: Tensor) -> Tensor:
        one = torch.ones(len(sigma), 1, 1, 1, device=sigma.device)
        zero = torch.zeros_like(one)
        gain = self.sampling.calculate_denoised(sigma, one, zero) - self.sampling.calculate_denoised(sigma, zero, zero)
        return gain.flatten()

    def condition(self, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
        config = self.base.model_config.unet_config
        width = config.get("context_dim", config.get("context_in_dim"))
        if isinstance(width, int) and embedding.shape[-1] != width:
            raise InputError(
                f"The conditioning is {embedding.shape[-1]} wide; this {self.name} model takes {width}: encode the "
                "text with the CLIP of the same checkpoint."
            )
        given = {key: _normal(value) for key, value in extras.items()}
        given.update(cross_attn=embedding, device=self.device, prompt_type="positive")
        given["noise"] = torch.zeros(1, *shape[1:], device=self.device)
        given.setdefault("latent_image", given["noise"])  # of inpainting models, which see no picture without a mask
        given.setdefault("width", shape[-1] * 8)
        given.setdefault("height", shape[-2] * 8)
        try:
            return self.base.extra_conds(**given)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"The conditioning does not suit this {self.name} model ({type(error).__name__}: {error}); encode the "
                "text with the CLIP of the same checkpoint."
            ) from error

    def denoise(self, x: Tensor, sigma: Tensor, condition: Mapping[str, Any]) -> Tensor:
        batch = len(x)
        conds = {
            name: cond.process_cond(batch_size=batch, device=self.device, area=None).cond
            for name, cond in condition.items()
        }
        options = dict(self.patcher.model_options.get("transformer_options", {}))
        options.update(cond_or_uncond=[0] * batch, sigmas=sigma)
        return self.base.apply_model(x, sigma, transformer_options=options, **conds).float()

    def lora_name(self, layer: str) -> str:
        names = self.__dict__.get("_names")
        if names is None:
            import comfy.utils

            pairs = comfy.utils.unet_to_diffusers(self.base.model_config.unet_config).items()
            # Many weights have several spellings; the one diffusers writes itself comes last.
            names = {ours.removesuffix(".weight"): theirs for theirs, ours in pairs if ours.endswith(".weight")}
            self._names = names
        if layer in names:
            return "lora_unet_" + names[layer].removesuffix(".weight").replace(".", "_")
        return _PREFIX + layer

    def preview(self, x0: Tensor) -> Tensor:
        """A denoised latent [1, C, h, w] or [1, C, f, h, w] as a rough picture [3, h, w] in 0..1."""
        latent = x0[0, :, 0].float() if x0.ndim == 5 else x0[0].float()  # of a film, the first frame
        factors = getattr(self.patcher.get_model_object("latent_format"), "latent_rgb_factors", None)
        if factors is None or len(factors) != latent.shape[0]:
            colours = latent[:3]
            return colours.sub(colours.amin()).div((colours.amax() - colours.amin()).clamp(min=1e-6))
        mixed = torch.einsum("chw,ck->khw", latent, torch.tensor(factors, device=latent.device))
        return mixed.add(1).mul(0.5).clamp(0, 1)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Gradients may be taken inside; the weights ask for none, and the model is as it was afterwards."""
        before = getattr(self._management, "in_training", None)
        asking: list[Tensor] = []
        try:
            if before is not None:
                self._management.in_training = True
            clone_from_inference(self.base)
            asking += [weight for weight in self.base.parameters() if weight.requires_grad]
            self.base.requires_grad_(False)
            yield
        finally:
            for weight in asking:
                weight.requires_grad_(True)
            if before is not None:
                self._management.in_training = before


def _normal(value: Any) -> Any:
    """What travels in a conditioning may have been made under inference mode."""
    return clone_from_inference(value) if isinstance(value, Tensor) else value


def _stems(key: str, names: Mapping[str, Any]) -> list[str]:
    """The names that a tensor of a LoRA may belong to."""
    parts = key.split(".")
    return [stem for stem in (".".join(parts[:n]) for n in range(1, len(parts))) if stem in names]
