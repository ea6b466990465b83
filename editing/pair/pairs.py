"""Pairs and sentences, checked, as the losses take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...models.errors import InputError
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.lora import init_loras
from ..common.diffusion.trial_gradient import explained_failures
from .inputs import check_latents, check_pairs, text_entry
from .losses import PairLatents
from .multiplier import MixedRowsError, scaled_hooks
from .separate_passes import SeparatePasses, needs_separate_passes
from .settings import PairSettings

__all__ = ["pair_latents"]


def pair_latents(
    denoiser: Denoiser,
    before: Tensor,  # [K, C, h, w], from the VAE
    after: Tensor | None,  # [K, C, h, w]; not looked at by "SliderEdit"
    entry: Any,  # (embedding [1, T, D], extras), or a CONDITIONING of one entry
    settings: PairSettings,
    instruction: Any,  # likewise; for "SliderEdit" alone
    layers: Mapping[str, nn.Module],  # that the slider changes
) -> PairLatents:
    """Return pairs as the network sees them; called where gradients may be taken.

    Raises:
        InputError: when the pairs do not fit together or contradict each other, or a sentence is missing.
    """
    if settings.loss == "SliderEdit":
        after = before = check_latents(before, "before")
        instruction = _instruction(instruction)
    else:
        before, after = check_pairs(before, after)
        instruction = None
    embedding, extras = text_entry(entry)
    before, after = (denoiser.latent_in(latents) for latents in (before, after))
    embedding = embedding.to(denoiser.device)
    if not needs_separate_passes(settings):
        condition = denoiser.condition(embedding, extras, (1, *before.shape[1:]))
        latents = PairLatents(denoiser, before, after, condition)
        if not _mixes_rows(latents, layers):
            return latents
    if instruction is not None:
        instruction = instruction[0].to(denoiser.device), instruction[1]
    return SeparatePasses(denoiser, before, after, None, (embedding, extras), instruction, settings.reference)


def _mixes_rows(latents: PairLatents, layers: Mapping[str, nn.Module]) -> bool:
    """Tell whether a layer of the network sees other rows than one for each picture, by one pass of two."""
    rng = torch.Generator().manual_seed(0)
    draws = latents.draw(PairSettings(), rng, 1)
    slider_loras = init_loras(layers, 1, rng)
    try:
        with torch.no_grad(), scaled_hooks(layers, slider_loras) as slider, slider.at(torch.ones(2)):
            with explained_failures(latents.denoiser):
                latents.denoised(latents.before[:1], draws.noise, copies=2)
    except MixedRowsError:
        return True
    return False


def _instruction(entry: Any) -> tuple[Tensor, dict[str, Any]]:
    """Return the entry of an instruction.

    Raises:
        InputError: when there is none.
    """
    if entry is None:
        raise InputError(
            "The loss SliderEdit learns from a sentence and has none; connect CLIP Text Encode with what is to be "
            "changed, such as 'add glasses', to 'instruction'."
        )
    return text_entry(entry)
