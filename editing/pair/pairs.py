"""Pairs and sentences, checked, as the losses take them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...models.errors import InputError
from ..common.diffusion.denoiser import Denoiser
from .inputs import check_latents, check_pairs, text_entry
from .losses import PairLatents
from .separate_passes import SeparatePasses, needs_separate_passes
from .settings import PairSettings

__all__ = ["pair_latents"]


def pair_latents(
    denoiser: Denoiser,
    before: Tensor,  # [K, C, h, w], from the VAE
    after: Tensor | None,  # [K, C, h, w]; not looked at by "SliderEdit"
    entry: Any,  # (embedding [1, T, D], extras), or a CONDITIONING of one entry
    settings: PairSettings,
    instruction: Any = None,  # likewise; for "SliderEdit" alone
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
        return PairLatents(denoiser, before, after, denoiser.condition(embedding, extras, (1, *before.shape[1:])))
    if instruction is not None:
        instruction = instruction[0].to(denoiser.device), instruction[1]
    return SeparatePasses(denoiser, before, after, None, (embedding, extras), instruction, settings.reference)


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
