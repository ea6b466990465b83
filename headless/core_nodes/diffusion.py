"""ComfyUI's nodes of a diffusion graph, for models from diffusers folders.

Same numbers as there, as near as two implementations of one network come (see models/diffusion/sampling.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ... import host
from ...models.diffusion.model import DiffusionModel
from ...models.diffusion.sampling import SAMPLERS, SCHEDULES, sample
from ...models.diffusion.text import TextEncoder
from ...models.diffusion.vae import VAE
from ...models.errors import InputError
from ..comfy_api import io
from .diffusers_folders import checkpoint_folder, checkpoints, folder_named, folders
from .images import LARGEST

_PIPELINE = [io.Model.Output(), io.Clip.Output(), io.Vae.Output()]


class CheckpointLoaderSimple(io.ComfyNode):
    """Loads a checkpoint by its name; here a diffusers folder that stands for it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CheckpointLoaderSimple",
            display_name="Load Checkpoint",
            category="loaders",
            inputs=[io.Combo.Input("ckpt_name", options=checkpoints())],
            outputs=_PIPELINE,
        )

    @classmethod
    def validate_inputs(cls, ckpt_name: str) -> bool | str:
        return _error_of(checkpoint_folder, ckpt_name)

    @classmethod
    def execute(cls, ckpt_name: str) -> io.NodeOutput:
        return _load(checkpoint_folder(ckpt_name))


class DiffusersLoader(io.ComfyNode):
    """Loads a folder below models/diffusers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusersLoader",
            category="advanced/loaders/deprecated",
            inputs=[io.Combo.Input("model_path", options=folders("diffusers"))],
            outputs=_PIPELINE,
        )

    @classmethod
    def validate_inputs(cls, model_path: str) -> bool | str:
        return _error_of(lambda name: folder_named("diffusers", name), model_path)

    @classmethod
    def execute(cls, model_path: str) -> io.NodeOutput:
        return _load(folder_named("diffusers", model_path))


class CLIPTextEncode(io.ComfyNode):
    """Encodes a sentence as conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CLIPTextEncode",
            display_name="CLIP Text Encode (Prompt)",
            category="conditioning",
            inputs=[io.String.Input("text", multiline=True, dynamic_prompts=True), io.Clip.Input("clip")],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, text: str, clip: TextEncoder) -> io.NodeOutput:
        for network in clip.networks():
            host.current().place(network)
        return io.NodeOutput(clip.encode_from_tokens_scheduled(clip.tokenize(text)))


class ConditioningZeroOut(io.ComfyNode):
    """Sets a conditioning to zeros, so that it says nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConditioningZeroOut",
            category="advanced/conditioning",
            inputs=[io.Conditioning.Input("conditioning")],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, conditioning: list) -> io.NodeOutput:
        return io.NodeOutput(
            [[torch.zeros_like(embedding), _without_pooled(extras)] for embedding, extras in conditioning]
        )


class LoraModelLoader(io.ComfyNode):
    """Applies a LoRA that a node of this graph made."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoraModelLoader",
            display_name="Load LoRA Model",
            category="loaders",
            is_experimental=True,
            inputs=[
                io.Model.Input("model"),
                io.LoraModel.Input("lora"),
                io.Float.Input("strength_model", default=1.0, min=-100.0, max=100.0, step=0.01),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: DiffusionModel, lora: dict, strength_model: float) -> io.NodeOutput:
        if strength_model == 0:
            return io.NodeOutput(model)
        return io.NodeOutput(host.current().diffusion.apply_lora(model, lora, strength_model))


class VAEEncode(io.ComfyNode):
    """Encodes pictures as latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VAEEncode",
            display_name="VAE Encode",
            category="latent",
            inputs=[io.Image.Input("pixels"), io.Vae.Input("vae")],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, pixels: torch.Tensor, vae: VAE) -> io.NodeOutput:
        host.current().place(vae.network)
        return io.NodeOutput({"samples": vae.encode(pixels)})


class VAEDecode(io.ComfyNode):
    """Decodes latents to pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VAEDecode",
            display_name="VAE Decode",
            category="latent",
            inputs=[io.Latent.Input("samples"), io.Vae.Input("vae")],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, samples: dict, vae: VAE) -> io.NodeOutput:
        host.current().place(vae.network)
        return io.NodeOutput(vae.decode(samples["samples"]))


class EmptyLatentImage(io.ComfyNode):
    """Makes latents to start new pictures from: four channels, eight pixels a cell."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EmptyLatentImage",
            display_name="Empty Latent Image",
            category="latent",
            inputs=[
                io.Int.Input("width", default=512, min=16, max=LARGEST, step=8),
                io.Int.Input("height", default=512, min=16, max=LARGEST, step=8),
                io.Int.Input("batch_size", default=1, min=1, max=4096),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, width: int, height: int, batch_size: int = 1) -> io.NodeOutput:
        return io.NodeOutput({"samples": torch.zeros(batch_size, 4, height // 8, width // 8)})


class KSampler(io.ComfyNode):
    """Denoises latents. The lists name the samplers and schedulers offered here; ComfyUI has more."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KSampler",
            display_name="KSampler",
            category="sampling",
            inputs=[
                io.Model.Input("model"),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True),
                io.Int.Input("steps", default=20, min=1, max=10000),
                io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01),
                io.Combo.Input("sampler_name", options=list(SAMPLERS)),
                io.Combo.Input("scheduler", options=list(SCHEDULES)),
                io.Conditioning.Input("positive"),
                io.Conditioning.Input("negative"),
                io.Latent.Input("latent_image"),
                io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(
        cls,
        model: DiffusionModel,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: list,
        negative: list,
        latent_image: dict,
        denoise: float = 1.0,
    ) -> io.NodeOutput:
        if not isinstance(model, DiffusionModel):
            raise InputError(f"The model is {type(model).__name__}; expected one from a loader of this graph.")
        host.current().place(model.network)
        samples = sample(
            model,
            latent_image["samples"],
            positive,
            negative,
            sampler_name,
            scheduler,
            steps,
            cfg,
            denoise,
            seed,
            latent_image.get("noise_mask"),
            latent_image.get("batch_index"),
            host.current().progress(steps, "sampling"),
        )
        return io.NodeOutput({**latent_image, "samples": samples})


def _load(folder: Path) -> io.NodeOutput:
    return io.NodeOutput(*host.current().diffusion.load_pipeline(folder))


def _error_of(find: Callable[[str], Path], name: str) -> bool | str:
    """Return True where a name can be found, the error's sentence otherwise."""
    try:
        find(name)
    except InputError as error:
        return str(error)
    return True


def _without_pooled(extras: dict[str, Any]) -> dict[str, Any]:
    pooled = extras.get("pooled_output")
    return extras if pooled is None else {**extras, "pooled_output": torch.zeros_like(pooled)}
