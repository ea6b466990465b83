"""A trial gradient: whether a model can tell which embedding would be better."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.diffusion.autograd.out_of_place import out_of_place
from ..common.diffusion.denoiser import Denoiser
from .conditioning import Conditioning
from .loss import TargetLatent, denoising_loss

__all__ = ["check_gradient"]

_ADVICE = "Use unquantised weights and the standard attention (no --use-sage-attention or --use-flash-attention)."
# Words of torch's own sentences about gradients, and about arithmetic that quantised numbers lack.
_ABOUT_GRADIENTS = re.compile(
    r"grad|backward|derivative|differentia|autograd|vjp|not implemented for '(Float8|Byte|Char|U?Int|Q)", re.IGNORECASE
)
_HALF_SCALE = 2.0**12  # float16 gradients vanish below 6e-8


def check_gradient(denoiser: Denoiser, target: TargetLatent, conditioning: Conditioning) -> bool:
    """Refuse a model that gives no gradient to the embedding.

    Returns:
        True when the network overwrites what its gradient needs, and has one under `out_of_place` alone.

    Raises:
        InputError: when no gradient reaches the embedding (a quantised model, an attention backend made for sampling),
            it is zero or not finite, or the model fails for another reason, which is named.
    """
    try:
        gradient, overwrites = _trial_gradient(denoiser, target, conditioning)
    except RuntimeError as error:
        if "out of memory" in str(error).lower() or "interrupt" in type(error).__name__.lower():
            raise
        sentence = (str(error).splitlines() or [type(error).__name__])[0]
        if _ABOUT_GRADIENTS.search(str(error)):
            raise InputError(f"'{denoiser.name}' gives no gradient: {sentence}. {_ADVICE}") from error
        raise InputError(
            f"'{denoiser.name}' fails on this photo and this text before anything is learned: {sentence}. Check that "
            "latent and conditioning come from the VAE and the CLIP of the same checkpoint."
        ) from error
    if gradient is None or not bool(torch.isfinite(gradient).all()) or not bool(gradient.any()):
        kind = "no gradient" if gradient is None else "a gradient of zeros or of values that are not finite"
        raise InputError(f"'{denoiser.name}' gives {kind} for its text conditioning. {_ADVICE}")
    return overwrites


def _trial_gradient(denoiser: Denoiser, target: TargetLatent, conditioning: Conditioning) -> tuple[Tensor | None, bool]:
    """Return d(loss) / d(embedding) [1, T, D], and whether it took `out_of_place` to have it."""
    noise = target.draw_noise(denoiser, 1, (0.3, 0.7), torch.Generator().manual_seed(0))
    scale = _HALF_SCALE if denoiser.dtype == torch.float16 else 1.0

    def gradient() -> Tensor | None:
        loss = denoising_loss(denoiser, target, noise, conditioning) * scale
        return torch.autograd.grad(loss, [conditioning.embedding], allow_unused=True)[0]

    try:
        return gradient(), False
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
    with out_of_place(denoiser.network):
        return gradient(), True
