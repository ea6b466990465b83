"""A diffusers network with its noise schedule and latent format: the headless counterpart of ComfyUI's MODEL.

It never changes: `patched` returns another model that shares every weight but the changed ones. `editing.imagic` works
on it through the same methods that the host offers for ComfyUI's MODEL.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..inference import clone_from_inference, no_inference_mode
from .schedule import NoiseSchedule

__all__ = ["DiffusionModel", "LatentFormat", "normalized_preview"]

_SIZES = ("height", "width", "crop_h", "crop_w", "target_height", "target_width")  # SDXL's order


@dataclass(frozen=True)
class LatentFormat:
    """The scaling between a VAE's latents and the network's: ``(latent - shift) * scale``.

    Args:
        channels: of a latent.
        scale, shift: as above.
        downscale: pixels per latent cell, along each side.
    """

    channels: int = 4
    scale: float = 0.18215
    shift: float = 0.0
    downscale: int = 8


@dataclass(frozen=True, eq=False)
class DiffusionModel:
    """A diffusion network, as `editing.common.diffusion.denoiser.Denoiser` describes it.

    Args:
        network: diffusers' UNet2DConditionModel or SD3Transformer2DModel, frozen, in evaluation mode.
        schedule: its noise levels.
        latent: its latent format.
        name: for messages.
        changes: names of the weights that differ from the model as loaded, for messages.
    """

    network: nn.Module
    schedule: NoiseSchedule
    latent: LatentFormat = LatentFormat()
    name: str = "diffusion model"
    changes: tuple[str, ...] = field(default=())

    @property
    def prediction(self) -> str:
        """Return epsilon, v_prediction or flow."""
        return self.schedule.prediction

    @property
    def device(self) -> torch.device:
        """Return the device of the network's weights."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Return the type that the network computes in."""
        return next(self.network.parameters()).dtype

    @property
    def sigma_min(self) -> float:
        """Return the lowest noise level the network knows."""
        return float(self.schedule.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """Return the highest noise level the network knows."""
        return float(self.schedule.sigmas[-1])

    def latent_in(self, latent: Tensor) -> Tensor:
        """Scale a VAE's latent [B, C, h, w] for the network: [B, C, h, w], float32 on its device.

        Raises:
            InputError: when it has another number of channels than the network.
        """
        if latent.ndim != 4 or latent.shape[1] != self.latent.channels:
            raise InputError(
                f"The latent has shape {list(latent.shape)}; '{self.name}' works on [B, {self.latent.channels}, h, w]: "
                "encode the picture with the VAE of the same model."
            )
        return (latent.to(self.device, torch.float32) - self.latent.shift) * self.latent.scale

    def latent_out(self, x: Tensor) -> Tensor:
        """Undo `latent_in` for latents [B, C, h, w]."""
        return x / self.latent.scale + self.latent.shift

    def sigmas_at(self, u: Tensor) -> Tensor:
        """Return the noise levels [B] at shares u [B] of the trained timesteps, 0 the least noise, 1 the most."""
        return self.schedule.sigmas_at(u).to(self.device)

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """Return x0 with noise [B, C, h, w] at noise levels sigma [B]: [B, C, h, w]."""
        return self.schedule.noised(x0, noise, sigma)

    def output_gain(self, sigma: Tensor) -> Tensor:
        """Return d(denoised) / d(network output) at noise levels sigma [B]: [B]."""
        return self.schedule.output_gain(sigma)

    def condition(self, embedding: Tensor, extras: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Turn one CONDITIONING entry into the network's arguments; gradients flow to its tensors.

        Args:
            embedding: [1 or B, T, D].
            extras: the entry's dictionary; pooled_output [1 or B, P], attention_mask [1, T] and SDXL's sizes are read.
            shape: of the latents, [B, C, h, w]; gives the sizes that the entry does not name.

        Raises:
            InputError: when the network needs a pooled output and the entry has none, or widths differ.
        """
        arguments = {"encoder_hidden_states": embedding.to(self.device, self.dtype)}
        config = self.network.config
        dim = getattr(config, "cross_attention_dim", None) or getattr(config, "joint_attention_dim", None)
        if isinstance(dim, int) and embedding.shape[-1] != dim:
            raise InputError(
                f"The conditioning is {embedding.shape[-1]} wide; '{self.name}' takes {dim}: encode the text with "
                "the CLIP of the same model."
            )
        mask = extras.get("attention_mask")
        if mask is not None and not bool(mask.all()) and self._takes_mask:
            arguments["mask"] = mask.to(self.device)
        if not self._takes_pooled:
            return arguments
        pooled = extras.get("pooled_output")
        if pooled is None:
            raise InputError(f"'{self.name}' needs a pooled output in its conditioning, and this one has none.")
        arguments["pooled"] = pooled.to(self.device, self.dtype)
        if self._takes_sizes:
            height, width = (cells * self.latent.downscale for cells in shape[-2:])
            defaults = {"height": height, "width": width, "crop_h": 0, "crop_w": 0}
            defaults["target_height"] = extras.get("height", height)
            defaults["target_width"] = extras.get("width", width)
            sizes = [float(extras.get(name, defaults[name])) for name in _SIZES]
            arguments["sizes"] = torch.tensor([sizes], device=self.device, dtype=self.dtype)
        return arguments

    def takes_references(self, condition: Mapping[str, Tensor]) -> bool:
        """Tell whether a condition holds reference latents; no network here takes any."""
        return False

    def denoise(self, x: Tensor, sigma: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        """Estimate the latents without noise; differentiable.

        Args:
            x: noisy latents [B, C, h, w], float32.
            sigma: noise levels [B].
            condition: from `condition`.

        Returns:
            Denoised latents [B, C, h, w], float32.
        """
        batch = len(x)
        sigma = sigma.to(x).expand(batch)
        text, pooled, sizes = (condition.get(key) for key in ("encoder_hidden_states", "pooled", "sizes"))
        inputs = self.schedule.network_input(x, sigma).to(self.dtype)
        arguments: dict[str, Any] = {"encoder_hidden_states": _expand_batch(text, batch), "return_dict": False}
        if self._takes_sizes:
            arguments["added_cond_kwargs"] = {
                "text_embeds": _expand_batch(pooled, batch),
                "time_ids": _expand_batch(sizes, batch),
            }
        elif pooled is not None:
            arguments["pooled_projections"] = _expand_batch(pooled, batch)
        if "mask" in condition:
            arguments["encoder_attention_mask"] = _expand_batch(condition["mask"], batch)
        output = self.network(inputs, timestep=self.schedule.timestep(sigma), **arguments)[0]
        return self.schedule.denoised(x, output.float(), sigma)

    def lora_name(self, layer: str) -> str:
        """Return a layer's name in LoRA files, in the spelling that most tools know."""
        return "lora_unet_" + layer.replace(".", "_")

    def preview(self, x0: Tensor) -> Tensor:
        """Turn a denoised latent [1, C, h, w] into a rough picture [3, h, w] in 0..1: its first three channels."""
        return normalized_preview(x0[0].float())

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Allow gradients to be taken inside; the weights ask for none, and are as they were afterwards."""
        clone_from_inference(self.network)
        trainable = [weight for weight in self.network.parameters() if weight.requires_grad]
        for weight in trainable:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in trainable:
                weight.requires_grad_(True)

    def patched(self, deltas: Mapping[str, Tensor], strength: float = 1.0) -> DiffusionModel:
        """Return another model with ``strength * delta`` added to the named parameters; every other weight is shared.

        Args:
            deltas: parameter name -> tensor of the parameter's shape.
            strength: any number.

        Raises:
            InputError: when the network has no such parameter, or one of another shape.
        """
        weights = dict(self.network.named_parameters())
        for name, delta in deltas.items():
            if name not in weights or weights[name].shape != delta.shape:
                fact = f"has shape {list(weights[name].shape)}" if name in weights else "does not exist"
                raise InputError(
                    f"The change of '{name}' has shape {list(delta.shape)}, which {fact} in '{self.name}': "
                    "it was made for another model."
                )
        with no_inference_mode():
            shared = [*self.network.parameters(), *self.network.buffers()]
            memo: dict[int, Any] = {id(tensor): tensor for tensor in shared}
            for name, delta in deltas.items():
                weight = weights[name]
                patched = weight.float() + strength * delta.to(weight.device, torch.float32)
                memo[id(weight)] = nn.Parameter(patched.to(weight.dtype), requires_grad=False)
            network = copy.deepcopy(self.network, memo)
        return replace(self, network=network, changes=tuple(dict.fromkeys([*self.changes, *deltas])))

    @property
    def _takes_sizes(self) -> bool:
        return getattr(self.network.config, "addition_embed_type", None) == "text_time"

    @property
    def _takes_mask(self) -> bool:
        return hasattr(self.network.config, "cross_attention_dim")  # the U-shaped ones

    @property
    def _takes_pooled(self) -> bool:
        return self._takes_sizes or getattr(self.network.config, "pooled_projection_dim", None) is not None


def normalized_preview(latent: Tensor) -> Tensor:
    """Stretch the first three channels of a latent [C, h, w] to a picture [3, h, w] in 0..1."""
    colours = latent[:3]
    return colours.sub(colours.amin()).div((colours.amax() - colours.amin()).clamp(min=1e-6))


def _expand_batch(values: Tensor, batch: int) -> Tensor:
    return values.expand(batch, *values.shape[1:]) if len(values) == 1 else values
