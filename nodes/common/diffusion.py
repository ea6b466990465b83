"""What nodes on diffusion models share: latents, noise levels and the memory that is free."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import host
from ...editing.common.diffusion.lora import BLOCKS
from ...host import io
from ...models.errors import InputError


def rate_input(default: float, tooltip: str) -> io.Float.Input:
    """Return the learning rate of nodes that train a model, 0 for its own."""
    return io.Float.Input("rate", default=default, min=0.0, max=0.1, step=1e-6, round=1e-7, tooltip=tooltip)


def draws_input(default: int, tooltip: str = "Noise draws per step.") -> io.Int.Input:
    """Return the number of noise samples of a step."""
    return io.Int.Input("draws", display_name="noise samples", default=default, min=1, max=256, tooltip=tooltip)


def rank_input(default: int, tooltip: str = "Rank of the LoRA.") -> io.Int.Input:
    """Return the rank of a LoRA."""
    return io.Int.Input("rank", default=default, min=1, max=256, tooltip=tooltip)


def blocks_input(
    tooltip: str = "Where the model may change; 'attention' is lighter.", **more: object
) -> io.Combo.Input:
    """Return the choice of the blocks that learn."""
    return io.Combo.Input("blocks", options=["all", *BLOCKS[:-1]], tooltip=tooltip, **more)


def refinements_input() -> io.Int.Input:
    """Return how often each step of an inversion is solved again."""
    return io.Int.Input(
        "refinements",
        default=2,
        min=0,
        max=20,
        optional=True,
        tooltip="How often each step toward noise is solved again, so that the way back meets the photo.",
    )


def noise_level_inputs() -> list:
    """Return the range of noise that a photo is learned under, for nodes that train."""
    return [
        io.Float.Input(
            "noise_from",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="Least noise learned under, as a share of the model's timesteps. Low noise is fine detail.",
        ),
        io.Float.Input(
            "noise_to",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip="Most noise learned under. High noise is composition.",
        ),
    ]


def latent_of(latent: dict, name: str = "latent") -> Tensor:
    """Return the samples [B, C, h, w] of a LATENT as a normal float32 tensor.

    Raises:
        InputError: no samples, or values that are not finite.
    """
    samples = latent.get("samples") if isinstance(latent, dict) else None
    if not isinstance(samples, Tensor):
        raise InputError(f"The {name} holds no samples; connect VAE Encode.")
    with host.no_inference_mode():
        samples = samples.detach().float().clone()
    if not bool(torch.isfinite(samples).all()):
        raise InputError(f"The {name} has values that are not finite.")
    if not bool(samples.any()):
        raise InputError(f"The {name} is empty (all zeros); connect VAE Encode with the photo, not an empty latent.")
    return samples


def free_memory(denoiser: Any) -> int | None:
    """Return the bytes that may be used where the model is, with a little left for everything else."""
    free = host.current().diffusion.free_memory(denoiser.device)
    return None if free is None else int(free * 0.92)
