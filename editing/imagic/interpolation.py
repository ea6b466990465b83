"""Embedding interpolation, Imagic's stage 3: from the embedding that gives the photo to the one of the sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from .conditioning import MASK, Conditioning
from .token_counts import check_same_encoder, match_lengths, token_count

__all__ = ["FORMS", "interpolate", "interpolation_notes", "parse_etas"]

FORMS = ("linear", "norm preserving", "projection")
_LOWEST, _HIGHEST = -2, 4  # etas that are still read
_UNMIXED = ("mask", "latent", "image", "control", "area", "ids", "weights")  # words in keys that are no text


def interpolate(
    optimised: Conditioning, target: Conditioning, eta: float, form: str = FORMS[0], photo_weight: float = 1.0
) -> Conditioning:
    """Return the embedding at ``eta`` of the way from the photo's (0) to the sentence's (1).

    linear: (1 - eta) e_opt + eta e_tgt (Imagic, Eq. 3). norm preserving: the same, each token brought to the
    length that lies as far between the two lengths; a straight line between two texts is shorter than either.
    projection: photo_weight e_opt + eta (e_tgt minus its projection on e_opt), token by token (Forgedit, 2309.10556):
    what the sentence adds to each token; a token that both texts share does not move.

    Every tensor of the text goes the same way: pooled output, tokens of further encoders. What cannot be mixed is that
    of the nearer end, and keys that are no text are the target's where both have them; `interpolation_notes` names
    both. At eta 0 and 1 the ends come back as they are, with their own number of tokens.

    Args:
        eta: below 0 and beyond 1 are allowed.
        form: one of FORMS.
        photo_weight: of the photo's embedding, for the projection alone.

    Raises:
        InputError: when the form is unknown, or the texts come from two encoders.
    """
    check_choice("form", form, FORMS)
    check_same_encoder(optimised, target)
    if eta == 0 and (form != FORMS[2] or photo_weight == 1.0):
        return _end(optimised, optimised, target)
    if eta == 1 and form != FORMS[2]:
        return _end(target, optimised, target)
    start, end = match_lengths(optimised, target)
    text = {**(end if eta >= 0.5 else start).text_extras}
    for key, one, other in _mixable(start, end):
        text[key] = _interpolate_tokens(one, other, eta, form, photo_weight)
    embedding = _interpolate_tokens(start.embedding, end.embedding, eta, form, photo_weight)
    extras = {**optimised.extras, **target.extras, **text}
    masks = {key: _either_mask(start.extras.get(key), end.extras.get(key)) for key in extras if key.startswith(MASK)}
    others = {key: value for key, value in extras.items() if key not in masks}
    return Conditioning(embedding, {**others, **{key: mask for key, mask in masks.items() if mask is not None}})


def interpolation_notes(optimised: Conditioning, target: Conditioning) -> list[str]:
    """Return a sentence for each thing of two entries that is not mixed, and for texts of unequal length."""
    notes = []
    lengths = token_count(optimised), token_count(target)
    if lengths[0] != lengths[1]:
        start, _ = match_lengths(optimised, target)
        masked = "left out by the attention mask, where the model reads it"
        mask = masked if MASK in start.extras else "which this kind of model attends to"
        notes.append(f"The texts have {lengths[0]} and {lengths[1]} tokens; the shorter one is padded, {mask}.")
    start, end = match_lengths(optimised, target)
    mixed = {key for key, _, _ in _mixable(start, end)}
    common = {key for key in start.extras.keys() & end.extras.keys() if not key.startswith(MASK)}
    for key in sorted(common - mixed):
        if _differ(start.extras[key], end.extras[key]):
            end_name = "the nearer end's" if key in start.text_extras else "the target's"
            notes.append(f"'{key}' differs between the two and cannot be mixed: it is {end_name}.")
    return notes


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


def _end(entry: Conditioning, optimised: Conditioning, target: Conditioning) -> Conditioning:
    """Return an end's own text under the keys of both entries."""
    absent = (optimised.text_extras.keys() | target.text_extras.keys()) - entry.text_extras.keys()
    extras = {**optimised.extras, **target.extras, **entry.text_extras}
    mixable = {key: entry.extras[key] for key, _, _ in _mixable(optimised, target)}
    return Conditioning(entry.embedding, {key: extras[key] for key in extras if key not in absent} | mixable)


def _mixable(start: Conditioning, end: Conditioning) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield key and both tensors of what is mixed: real numbers of the same shape that are no picture and no mask."""
    for key in start.extras.keys() & end.extras.keys():
        one, other = start.extras[key], end.extras[key]
        tensors = isinstance(one, Tensor) and isinstance(other, Tensor)
        if not tensors or any(word in key for word in _UNMIXED) or one.shape != other.shape:
            continue
        if one.is_floating_point() and other.is_floating_point():
            yield key, one, other


def _either_mask(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Return the mask of what either text says; an entry without a mask says all of it."""
    return None if one is None or other is None else torch.maximum(one, other.to(one))


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape != other.shape or not torch.equal(one, other.to(one))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(_differ, one, other))
    plain = bool | int | float | str | None
    return one is not other and not (isinstance(one, plain) and isinstance(other, plain) and one == other)


def _interpolate_tokens(start: Tensor, end: Tensor, eta: float, form: str, photo_weight: float) -> Tensor:
    """Mix vectors [..., D]."""
    a, b = start.float(), end.to(start.device).float()
    if form == FORMS[2]:
        coefficient = (a * b).sum(dim=-1, keepdim=True) / (a * a).sum(dim=-1, keepdim=True).clamp(min=1e-12)
        mixed = photo_weight * a + eta * (b - coefficient * a)
    else:
        mixed = torch.lerp(a, b, eta)
        if form == "norm preserving":
            lengths = torch.lerp(a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True), eta).clamp(min=0)
            mixed = mixed * lengths / mixed.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return mixed.to(start.dtype)
