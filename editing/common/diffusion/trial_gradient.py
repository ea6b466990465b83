"""A trial gradient: whether a model can be learned beside, and how, before the work starts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ....models.errors import InputError
from .autograd.out_of_place import out_of_place
from .denoiser import Denoiser

__all__ = ["GRADIENT_ADVICE", "explained_failures", "trial_gradients", "usable"]

GRADIENT_ADVICE = (
    "Use unquantised weights and the standard attention (no --use-sage-attention or --use-flash-attention)."
)
# Words of torch's own sentences about gradients, and about arithmetic that quantised numbers lack.
_ABOUT_GRADIENTS = re.compile(
    r"grad|backward|derivative|differentia|autograd|vjp|Float8_|not implemented for '(Byte|Char|U?Int|Q)", re.IGNORECASE
)
_HALF_SCALE = 2.0**12  # float16 gradients vanish below 6e-8


def trial_gradients(
    denoiser: Denoiser, loss: Callable[[], Tensor], tensors: Sequence[Tensor]
) -> tuple[list[Tensor | None], bool]:
    """Take the gradients of one small loss.

    Args:
        loss: makes the loss [] anew.
        tensors: what will be learned.

    Returns:
        d(loss) / d(tensor) of each, None where there is none (scaled up for float16), and whether the network
        overwrites what its gradient needs, and has one under `out_of_place` alone.

    Raises:
        InputError: when the model has no gradients (quantised weights, an attention backend made for sampling), or
            fails for another reason, which is named.
    """
    scale = _HALF_SCALE if denoiser.dtype == torch.float16 else 1.0

    def gradients() -> list[Tensor | None]:
        return list(torch.autograd.grad(loss() * scale, list(tensors), allow_unused=True))

    with explained_failures(denoiser):
        try:
            return gradients(), False
        except RuntimeError as error:
            if "inplace operation" not in str(error):
                raise
        with out_of_place(denoiser.network):
            return gradients(), True


@contextlib.contextmanager
def explained_failures(denoiser: Denoiser) -> Iterator[None]:
    """Say in a sentence why a first pass of the network failed; a full memory and an interruption stay what they are.

    Raises:
        InputError: instead of the error of torch or of the network's own code.
    """
    try:
        yield
    except RuntimeError as error:
        if "out of memory" in str(error).lower() or "interrupt" in type(error).__name__.lower():
            raise
        sentence = (str(error).splitlines() or [type(error).__name__])[0]
        if _ABOUT_GRADIENTS.search(str(error)):
            raise InputError(f"'{denoiser.name}' gives no gradient: {sentence}. {GRADIENT_ADVICE}") from error
        raise InputError(
            f"'{denoiser.name}' fails on this photo and this text before anything is learned: {sentence}. Check that "
            "latent and conditioning come from the VAE and the CLIP of the same checkpoint."
        ) from error


def usable(gradients: Sequence[Tensor | None]) -> bool:
    """Tell whether there is a gradient, it is finite, and not zero everywhere."""
    present = [gradient for gradient in gradients if gradient is not None]
    finite = all(bool(torch.isfinite(gradient).all()) for gradient in present)
    return finite and any(bool(gradient.any()) for gradient in present)
