"""CONDITIONING as nodes pass it on, a list of [embedding [1, T, D], extras], and the one entry of it that is edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import repeat
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import no_inference_mode

__all__ = ["POOLED", "Conditioning", "conditioning_list", "match_lengths", "single_conditioning"]

POOLED = "pooled_output"
_SAMPLING_ONLY = ("control", "area", "mask", "gligen", "hooks")
_FULL_RANGE = {"start_percent": 0.0, "end_percent": 1.0}  # other values act while sampling only
_CLIP_WINDOW = 77  # tokens


class Conditioning:
    """One entry of a CONDITIONING: the text encoder's output for a sentence. Treat it as frozen.

    Args:
        embedding: [1, T, D], one vector per token.
        extras: everything else that travels with it; the pooled output [1, P] is under POOLED.
    """

    def __init__(self, embedding: Tensor, extras: dict[str, Any]) -> None:
        self.embedding, self.extras = embedding, extras

    @property
    def pooled(self) -> Tensor | None:
        """Return the pooled output [1, P], or None where the text encoder gives none."""
        return self.extras.get(POOLED)

    def with_tensors(self, embedding: Tensor, pooled: Tensor | None) -> Conditioning:
        """Return the same entry with other tensors, [1, T, D] and [1, P]; every other key stays."""
        extras = dict(self.extras)
        if pooled is not None:
            extras[POOLED] = pooled
        return Conditioning(embedding, extras)

    def trainable_copy(self, device: torch.device) -> Conditioning:
        """Return the entry with float32 copies of its tensors on ``device``, which may enter a graph."""
        pooled = self.pooled
        return self.with_tensors(
            _trainable_copy(self.embedding, device), None if pooled is None else _trainable_copy(pooled, device)
        )

    def detached_like(self, reference: Conditioning) -> Conditioning:
        """Return ``reference`` with this entry's tensors, out of their graph, on its device and in its precision."""
        device, dtype = reference.embedding.device, reference.embedding.dtype
        pooled = None if self.pooled is None else self.pooled.detach().to(device, dtype)
        return reference.with_tensors(self.embedding.detach().to(device, dtype), pooled)


def single_conditioning(
    conditioning: Sequence, name: str = "The conditioning", for_training: bool = False
) -> Conditioning:
    """Return the one entry of a CONDITIONING.

    Args:
        conditioning: [[embedding [1, T, D], extras]].
        name: what messages call it.
        for_training: refuse keys that act while sampling only, which training would silently leave out.

    Raises:
        InputError: when there is no entry or several, the embedding is not [1, T, D] and finite, or a key acts while
            sampling only.
    """
    if not isinstance(conditioning, Sequence) or not conditioning:
        raise InputError(f"{name} is empty; connect CLIP Text Encode.")
    if len(conditioning) > 1:
        raise InputError(
            f"{name} has {len(conditioning)} entries (combined conditionings); this works on one: connect the text "
            "encoder directly."
        )
    embedding, extras = conditioning[0][0], dict(conditioning[0][1])
    if embedding.ndim != 3 or embedding.shape[0] != 1:
        raise InputError(f"{name} has shape {list(embedding.shape)}; expected one sentence, [1, tokens, width].")
    if not bool(torch.isfinite(embedding).all()):
        raise InputError(f"{name} has values that are not finite.")
    sampling_keys = _sampling_keys(extras) if for_training else []
    if sampling_keys:
        raise InputError(
            f"{name} carries {', '.join(sampling_keys)}, which acts while sampling only. Connect CLIP Text Encode "
            "directly here, and put control networks, areas, masks and ranges of time behind Interpolate Embedding."
        )
    return Conditioning(embedding, extras)


def _sampling_keys(extras: dict[str, Any]) -> list[str]:
    keys = [key for key in _SAMPLING_ONLY if extras.get(key) is not None]
    return keys + [key for key, default in _FULL_RANGE.items() if extras.get(key, default) != default]


def conditioning_list(conditioning: Conditioning) -> list:
    """Return the entry as a CONDITIONING, [[embedding [1, T, D], extras]]."""
    return [[conditioning.embedding, dict(conditioning.extras)]]


def match_lengths(
    a: Conditioning, b: Conditioning, names: tuple[str, str] = ("optimised", "target")
) -> tuple[Conditioning, Conditioning]:
    """Bring two entries to the same number of tokens.

    Texts of whole CLIP windows are repeated, which cross-attention does not notice: every key appears as often.

    Args:
        names: what messages call the two.

    Raises:
        InputError: when widths or pooled outputs differ, or the numbers of tokens do not go together.
    """
    _check_same_encoder(a, b, names)
    lengths = a.embedding.shape[1], b.embedding.shape[1]
    if lengths[0] == lengths[1]:
        return a, b
    longest = max(lengths)
    if longest % min(lengths) or min(lengths) % _CLIP_WINDOW or _attends_to_text(a) or _attends_to_text(b):
        raise InputError(
            f"The {names[0]} text has {lengths[0]} tokens and the {names[1]} one {lengths[1]}; they cannot be brought "
            "together: write two texts of about the same length."
        )
    a, b = (
        entry.with_tensors(
            repeat(entry.embedding, "1 t d -> 1 (times t) d", times=longest // entry.embedding.shape[1]), None
        )
        for entry in (a, b)
    )
    return a, b


def _check_same_encoder(a: Conditioning, b: Conditioning, names: tuple[str, str]) -> None:
    if a.embedding.shape[-1] != b.embedding.shape[-1]:
        raise InputError(
            f"The {names[0]} conditioning is {a.embedding.shape[-1]} wide and the {names[1]} one "
            f"{b.embedding.shape[-1]}: both have to come from the same text encoder."
        )
    shapes = ["none" if entry.pooled is None else str(list(entry.pooled.shape)) for entry in (a, b)]
    if shapes[0] != shapes[1]:
        raise InputError(f"The pooled outputs differ: {names[0]} {shapes[0]}, {names[1]} {shapes[1]}.")


def _attends_to_text(entry: Conditioning) -> bool:
    """Tell whether the network's text also attends to itself, so that repeating it would change it.

    So in networks with a mask, or whose pooled output comes from another encoder. A single CLIP's is as wide as its
    tokens, and SD 1 and 2 do not look at it.
    """
    pooled = entry.pooled
    return "attention_mask" in entry.extras or (pooled is not None and pooled.shape[-1] != entry.embedding.shape[-1])


def _trainable_copy(tensor: Tensor, device: torch.device) -> Tensor:
    with no_inference_mode():  # always a copy: what is trained is never what another node holds
        return tensor.detach().to(device, torch.float32, copy=True)
