"""ComfyUI's MODEL as a `Denoiser`: noise levels, conditioning and gradients, whatever its network predicts."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..models.diffusion.model import normalized_preview
from ..models.errors import InputError
from ..models.inference import clone_from_inference, no_inference_mode
from .comfyui_quantised import has_wrapped_weights, rewrapped

__all__ = ["ComfyDenoiser", "conditions_of"]

_PREFIX = "diffusion_model."  # of the network, among ComfyUI's weights


class ComfyDenoiser:
    """ComfyUI's `Denoiser`: a MODEL of any kind, whose denoised latent is affine in its network's output.

    Args:
        model: ComfyUI's ModelPatcher; its own patches (LoRAs of the user) are in force while it is loaded.

    Raises:
        InputError: when it cannot be loaded as a whole.
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

    def _load(self) -> None:
        device, size = self.patcher.load_device, self.patcher.model_size()
        on_card = device.type != "cpu"
        if on_card:
            missing = size - self.patcher.loaded_size()
            if missing > 0.02 * size:
                self._management.free_memory(1e30, device)  # everything else can come back when it is needed
            free = self._management.get_free_memory(device)
            if missing > free:
                raise self._memory_error(size, free)
        # ComfyUI clones wrapped weights outside of inference mode, and cannot move its own clones inside of it.
        with contextlib.nullcontext() if has_wrapped_weights(self.patcher.model) else no_inference_mode():
            # As much room as there is: what else is loaded would only be in the way of the gradients.
            room = 1e20 if on_card else 0
            self._management.load_models_gpu([self.patcher], memory_required=room, force_full_load=True)
        if on_card and self.patcher.loaded_size() < 0.98 * size:
            raise self._memory_error(size, self._management.get_free_memory(device))

    def _memory_error(self, size: int, free: int) -> InputError:
        return InputError(
            f"The model needs {size / 2**20:.0f} MB on {self.patcher.load_device} in one piece, and "
            f"{free / 2**20:.0f} MB are free; a model that is loaded in parts has no gradients. Free memory, start "
            "ComfyUI without --lowvram and --novram or with --cpu, or use a smaller model."
        )

    @property
    def device(self) -> torch.device:
        """Return the device that the network works on."""
        return self.patcher.load_device

    @property
    def dtype(self) -> torch.dtype:
        """Return the type that the network computes in."""
        return self.base.manual_cast_dtype or self.base.get_dtype()

    @property
    def sigma_min(self) -> float:
        """Return the lowest noise level the network knows."""
        return float(self.sampling.sigma_min)

    @property
    def sigma_max(self) -> float:
        """Return the highest noise level the network knows."""
        return float(self.sampling.sigma_max)

    def latent_in(self, latent: Tensor) -> Tensor:
        """Scale a VAE's latent [B, C, h, w] for the network: [B, C, h, w], or [B, C, 1, h, w] for models of films.

        Raises:
            InputError: when it has another number of channels than the network.
        """
        latent_format = self.patcher.get_model_object("latent_format")
        if latent.ndim == 4 and getattr(latent_format, "latent_dimensions", 2) == 3:
            latent = rearrange(latent, "b c h w -> b c 1 h w")  # of models that also make films
        if latent.ndim not in (4, 5) or latent.shape[1] != latent_format.latent_channels:
            raise InputError(
                f"The latent has shape {list(latent.shape)}; this {self.name} model works on "
                f"{latent_format.latent_channels} channels: encode the picture with the VAE of the same model."
            )
        latent = clone_from_inference(latent.to(self.device, torch.float32))
        return clone_from_inference(self.base.process_latent_in(latent))

    def latent_out(self, x: Tensor) -> Tensor:
        """Undo `latent_in`, but for the axis of frames."""
        return self.base.process_latent_out(x)

    def sigmas_at(self, u: Tensor) -> Tensor:
        """Return the noise levels [B] at shares u [B] of the trained timesteps, 0 the least noise, 1 the most."""
        shares = (1 - u).clamp(1e-4, 1 - 1e-4)  # the ends stand for "no limit" in ComfyUI
        sigmas = [float(self.sampling.percent_to_sigma(float(share))) for share in shares]
        return torch.tensor(sigmas, device=self.device).clamp(self.sigma_min, self.sigma_max)

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Return x0 with noise [B, C, h, w] at noise levels sigma [B]: [B, C, h, w]."""
        return self.sampling.noise_scaling(sigma, noise, x0, False)

    def output_gain(self, sigma: Tensor) -> Tensor:
        """Return d(denoised) / d(network output) at noise levels sigma [B]: [B]."""
        one = torch.ones(len(sigma), 1, 1, 1, device=sigma.device)
        zero = torch.zeros_like(one)
        gain = self.sampling.calculate_denoised(sigma, one, zero) - self.sampling.calculate_denoised(sigma, zero, zero)
        return gain.flatten()

    def condition(self, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
        """Turn one CONDITIONING entry into the network's arguments; gradients flow to its tensors.

        Args:
            embedding: [1, T, D].
            extras: the entry's dictionary.
            shape: of the latents, [B, C, h, w].

        Raises:
            InputError: when it comes from the text encoder of another model.
        """
        return _extra_conds(self.base, embedding, extras, shape, self.device)

    def takes_references(self, condition: Mapping[str, Any]) -> bool:
        """Tell whether a condition holds the reference latents of its entry."""
        return "ref_latents" in condition

    def denoise(self, x: Tensor, sigma: Tensor, condition: Mapping[str, Any]) -> Tensor:
        """Return the denoised latents [B, C, h, w], float32, of noisy ones x [B, C, h, w] at noise levels sigma [B]."""
        batch = len(x)
        conds = _batched(condition, batch, self.device)
        options = dict(self.patcher.model_options.get("transformer_options", {}))
        options.update(cond_or_uncond=[0] * batch, sigmas=sigma)
        return self.base.apply_model(x, sigma, transformer_options=options, **conds).float()

    def lora_name(self, layer: str) -> str:
        """Return the name of a layer of `network` in LoRA files, in diffusers' spelling where there is one."""
        if layer in self._diffusers_names:
            return "lora_unet_" + self._diffusers_names[layer].removesuffix(".weight").replace(".", "_")
        return _PREFIX + layer

    @functools.cached_property
    def _diffusers_names(self) -> dict[str, str]:
        import comfy.utils

        pairs = comfy.utils.unet_to_diffusers(self.base.model_config.unet_config).items()
        # Many weights have several spellings; the one diffusers writes itself comes last.
        return {ours.removesuffix(".weight"): theirs for theirs, ours in pairs if ours.endswith(".weight")}

    def preview(self, x0: Tensor) -> Tensor:
        """Turn a denoised latent [1, C, h, w] or [1, C, f, h, w] into a rough picture [3, h, w] in 0..1."""
        latent = x0[0, :, 0].float() if x0.ndim == 5 else x0[0].float()  # of a film, the first frame
        factors = getattr(self.patcher.get_model_object("latent_format"), "latent_rgb_factors", None)
        if factors is None or len(factors) != latent.shape[0]:
            return normalized_preview(latent)
        mixed = torch.einsum("chw,ck->khw", latent, torch.tensor(factors, device=latent.device))
        return mixed.add(1).mul(0.5).clamp(0, 1)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Allow gradients to be taken inside; the weights ask for none, and the model is as it was afterwards."""
        in_training = getattr(self._management, "in_training", None)
        trainable, stack = [], contextlib.ExitStack()
        try:
            if in_training is not None:
                self._management.in_training = True
            stack.enter_context(rewrapped(self.base))
            clone_from_inference(self.base)
            trainable += [weight for weight in self.base.parameters() if weight.requires_grad]
            self.base.requires_grad_(False)
            yield
        finally:
            stack.close()
            for weight in trainable:
                weight.requires_grad_(True)
            if in_training is not None:
                self._management.in_training = in_training


def conditions_of(
    base: Any, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...], device: torch.device
) -> dict[str, Any]:
    """Return one CONDITIONING entry as the arguments of a model's `apply_model`, for latents of this shape.

    Raises:
        InputError: when it comes from the text encoder of another model.
    """
    return _batched(_extra_conds(base, embedding, extras, shape, device), shape[0], device)


def _batched(condition: Mapping[str, Any], batch: int, device: torch.device) -> dict[str, Any]:
    return {
        name: cond.process_cond(batch_size=batch, device=device, area=None).cond for name, cond in condition.items()
    }


def _extra_conds(
    base: Any, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...], device: torch.device
) -> dict[str, Any]:
    name = type(base).__name__
    config = base.model_config.unet_config
    width = config.get("context_dim", config.get("context_in_dim"))
    if isinstance(width, int) and embedding.shape[-1] != width:
        raise InputError(
            f"The conditioning is {embedding.shape[-1]} wide; this {name} model takes {width}: encode the "
            "text with the CLIP of the same checkpoint."
        )
    arguments = {key: _clone_if_tensor(value) for key, value in extras.items()}
    arguments.update(cross_attn=embedding, device=device, prompt_type="positive")
    arguments["noise"] = torch.zeros(1, *shape[1:], device=device)
    # Of inpainting models, which see no picture without a mask.
    arguments.setdefault("latent_image", arguments["noise"])
    arguments.setdefault("width", shape[-1] * 8)
    arguments.setdefault("height", shape[-2] * 8)
    try:
        return base.extra_conds(**arguments)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The conditioning does not suit this {name} model ({type(error).__name__}: {error}); encode the "
            "text with the CLIP of the same checkpoint."
        ) from error


def _clone_if_tensor(value: Any) -> Any:
    """Clone a tensor of a conditioning that was made under inference mode."""
    return clone_from_inference(value) if isinstance(value, Tensor) else value
