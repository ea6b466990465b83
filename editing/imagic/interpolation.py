"""Stage 3 of Imagic: between the embedding that gives the photo and the one that says the sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from ...models.errors import InputError
from .conditioning import Entry, same_text_space

__all__ = ["FORMS", "interpolate", "parse_etas"]

FORMS = ("linear", "norm preserving", "projection")


def interpolate(optimised: Entry, target: Entry, eta: float, form: str = FORMS[0]) -> Entry:
    """The embedding at ``eta`` of the way from the photo's (0) to the sentence's (1); below and beyond are allowed.

    linear: (1 - eta) e_opt + eta e_tgt (Imagic, equation 3). norm preserving: the same, each token brought to the
    length that lies as far between the two lengths; a straight line between two texts is shorter than either.
    projection: e_opt + eta (e_tgt minus its projection on e_opt) (Forgedit, 2309.10556): what the sentence adds,
    while the photo's own embedding stays whole.

    The pooled output goes the same way. Other keys are the target's where both have them, and all are kept.

    Raises:
        InputError: an unknown form, or texts of two encoders.
    """
    if form not in FORMS:
        raise InputError(f"The form is {form!r}; expected one of {', '.join(FORMS)}.")
    start, end = same_text_space(optimised, target)
    embedding = _between(start.embedding, end.embedding, eta, form)
    pooled = None if start.pooled is None else _between(start.pooled, end.pooled, eta, form)
    return Entry(embedding, {**optimised.extras, **target.extras}).replaced(embedding, pooled)


def parse_etas(text: str, most: int = 64) -> tuple[float, ...]:
    """Etas as typed: "0.4, 0.6, 0.8", or "0.2 to 1.2 in 6" for evenly spaced ones.

    Raises:
        InputError: nothing to read, a value that is no number or beyond -2..4, too many.
    """
    words = text.replace(",", " ").split()
    try:
        if len(words) == 5 and words[1] == "to" and words[3] == "in":
            low, high, count = float(words[0]), float(words[2]), int(words[4])
            if not 2 <= count <= most:
                raise InputError(f"The etas '{text}' are {count}; expected 2 to {most}.")
            found = [low + (high - low) * k / (count - 1) for k in range(count)]
        else:
            found = [float(word) for word in words]
    except ValueError:
        found = []
    if not found or len(found) > most or not all(-2 <= eta <= 4 for eta in found):
        raise InputError(
            f"The etas are '{text}'; expected up to {most} numbers from -2 to 4 such as '0.4, 0.6, 0.8', or "
            "'0.2 to 1.2 in 6'."
        )
    return tuple(round(eta, 6) for eta in found)


def _between(start: Tensor, end: Tensor, eta: float, form: str) -> Tensor:
    a, b = start.float(), end.to(start.device).float()
    if form == "projection":
        share = (a * b).sum() / (a * a).sum().clamp(min=1e-12)
        mixed = a + eta * (b - share * a)
    else:
        mixed = torch.lerp(a, b, eta)
        if form == "norm preserving":
            lengths = torch.lerp(a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True), eta).clamp(min=0)
            mixed = mixed * lengths / mixed.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return mixed.to(start.dtype)
