"""A trial gradient: whether a model can tell which embedding would be better."""

from __future__ import annotations

import torch

from ...models.errors import InputError
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.trial_gradient import GRADIENT_ADVICE, trial_gradients, usable
from .conditioning import Conditioning
from .loss import TargetLatent, denoising_loss

__all__ = ["check_gradient"]


def check_gradient(denoiser: Denoiser, target: TargetLatent, conditioning: Conditioning) -> bool:
    """Refuse a model that gives no gradient to the embedding.

    Returns:
        True when the network overwrites what its gradient needs, and has one under `out_of_place` alone.

    Raises:
        InputError: when no gradient reaches the embedding (a quantised model, an attention backend made for sampling),
            it is zero or not finite, or the model fails for another reason, which is named.
    """
    noise = target.draw_noise(denoiser, 1, (0.3, 0.7), torch.Generator().manual_seed(0))
    gradients, overwrites = trial_gradients(
        denoiser, lambda: denoising_loss(denoiser, target, noise, conditioning), [conditioning.embedding]
    )
    if not usable(gradients):
        kind = "no gradient" if gradients[0] is None else "a gradient of zeros or of values that are not finite"
        raise InputError(f"'{denoiser.name}' gives {kind} for its text conditioning. {GRADIENT_ADVICE}")
    return overwrites
