"""Embedding interpolation, Imagic's stage 3: from the embedding that gives the photo to the one of the sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from .conditioning import Conditioning, match_lengths

__all__ = ["FORMS", "interpolate", "parse_etas"]

FORMS = ("linear", "norm preserving", "projection")
_LOWEST, _HIGHEST = -2, 4  # etas that are still read


def interpolate(optimised: Conditioning, target: Conditioning, eta: float, form: str = FORMS[0]) -> Conditioning:
    """Return the embedding at ``eta`` of the way from the photo's (0) to the sentence's (1).

    linear: (1 - eta) e_opt + eta e_tgt (Imagic, Eq. 3). norm preserving: the same, each token brought to the
    length that lies as far between the two lengths; a straight line between two texts is shorter than either.
    projection: e_opt + eta (e_tgt minus its projection on e_opt) (Forgedit, 2309.10556): what the sentence adds,
    while the photo's own embedding stays whole.

    The pooled output goes the same way. Other keys are the target's where both have them, and all are kept.

    Args:
        eta: below 0 and beyond 1 are allowed.
        form: one of FORMS.

    Raises:
        InputError: when the form is unknown, or the texts come from two encoders.
    """
    check_choice("form", form, FORMS)
    start, end = match_lengths(optimised, target)
    embedding = _interpolate_tokens(start.embedding, end.embedding, eta, form)
    pooled = None if start.pooled is None else _interpolate_tokens(start.pooled, end.pooled, eta, form)
    return Conditioning(embedding, {**optimised.extras, **target.extras}).with_tensors(embedding, pooled)


def parse_etas(text: str, limit: int = 64) -> tuple[float, ...]:
    """Read etas as typed: "0.4, 0.6, 0.8", or "0.2 to 1.2 in 6" for evenly spaced ones.

    Raises:
        InputError: when there is nothing to read, a value is no number or beyond -2..4, or there are too many.
    """
    words = text.replace(",", " ").split()
    try:
        if len(words) == 5 and words[1] == "to" and words[3] == "in":
            low, high, count = float(words[0]), float(words[2]), int(words[4])
            if not 2 <= count <= limit:
                raise InputError(f"The etas '{text}' are {count}; expected 2 to {limit}.")
            etas = [low + (high - low) * k / (count - 1) for k in range(count)]
        else:
            etas = [float(word) for word in words]
    except InputError:
        raise
    except ValueError:
        etas = []
    if not etas or len(etas) > limit or not all(_LOWEST <= eta <= _HIGHEST for eta in etas):
        raise InputError(
            f"The etas are '{text}'; expected up to {limit} numbers from {_LOWEST} to {_HIGHEST} such as "
            "'0.4, 0.6, 0.8', or '0.2 to 1.2 in 6'."
        )
    return tuple(round(eta, 6) for eta in etas)


def _interpolate_tokens(start: Tensor, end: Tensor, eta: float, form: str) -> Tensor:
    """Mix vectors [..., D]."""
    a, b = start.float(), end.to(start.device).float()
    if form == "projection":
        coefficient = (a * b).sum() / (a * a).sum().clamp(min=1e-12)
        mixed = a + eta * (b - coefficient * a)
    else:
        mixed = torch.lerp(a, b, eta)
        if form == "norm preserving":
            lengths = torch.lerp(a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True), eta).clamp(min=0)
            mixed = mixed * lengths / mixed.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return mixed.to(start.dtype)
