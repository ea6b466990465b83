"""CONDITIONING as it travels between nodes: a list of [embedding [1, T, D], dictionary], one entry of it edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import no_inference_mode

__all__ = ["POOLED", "Entry", "as_conditioning", "entry_of", "same_text_space"]

POOLED = "pooled_output"
_SAMPLING_ONLY = ("control", "area", "mask", "gligen", "hooks")
_TIMED = {"start_percent": 0.0, "end_percent": 1.0}  # the same, where it is not all of the sampling


class Entry:
    """One entry of a CONDITIONING: what the text model made of a sentence. Treat it as frozen.

    Args:
        embedding: [1, T, D], one vector per token.
        extras: everything else that travels with it; the pooled output [1, P] is under POOLED.
    """

    def __init__(self, embedding: Tensor, extras: dict[str, Any]) -> None:
        self.embedding, self.extras = embedding, extras

    @property
    def pooled(self) -> Tensor | None:
        """The pooled output [1, P], or None where the text model gives none."""
        return self.extras.get(POOLED)

    def replaced(self, embedding: Tensor, pooled: Tensor | None) -> Entry:
        """The same entry with other tensors; every other key is kept."""
        extras = dict(self.extras)
        if pooled is not None:
            extras[POOLED] = pooled
        return Entry(embedding, extras)

    def trainable(self, device: torch.device) -> Entry:
        """The entry with float32 tensors that may enter a graph, on ``device``."""
        pooled = self.pooled
        return self.replaced(_normal(self.embedding, device), None if pooled is None else _normal(pooled, device))


def entry_of(conditioning: Sequence, what: str = "The conditioning", plain: bool = False) -> Entry:
    """The one entry of a CONDITIONING.

    ``plain``: refuse keys that act while sampling only, which training would silently leave out.

    Raises:
        InputError: no entry, several, or an embedding that is not [1, T, D] and finite.
    """
    if not isinstance(conditioning, Sequence) or not conditioning:
        raise InputError(f"{what} is empty; connect CLIP Text Encode.")
    if len(conditioning) > 1:
        raise InputError(
            f"{what} has {len(conditioning)} entries (combined conditionings); this works on one: connect the text "
            "encoder directly."
        )
    embedding, extras = conditioning[0][0], dict(conditioning[0][1])
    if embedding.ndim != 3 or embedding.shape[0] != 1:
        raise InputError(f"{what} has shape {list(embedding.shape)}; expected one sentence, [1, tokens, width].")
    if not bool(torch.isfinite(embedding).all()):
        raise InputError(f"{what} has values that are not finite.")
    acting = [key for key in _SAMPLING_ONLY if plain and extras.get(key) is not None]
    acting += [key for key, whole in _TIMED.items() if plain and extras.get(key, whole) != whole]
    if acting:
        raise InputError(
            f"{what} carries {', '.join(acting)}, which acts while sampling only. Connect CLIP Text Encode directly "
            "here, and put control networks, areas, masks and ranges of time behind Interpolate Embedding."
        )
    return Entry(embedding, extras)


def as_conditioning(entry: Entry) -> list:
    """The entry as CONDITIONING."""
    return [[entry.embedding, dict(entry.extras)]]


def same_text_space(a: Entry, b: Entry, names: tuple[str, str] = ("optimised", "target")) -> tuple[Entry, Entry]:
    """Both entries with as many tokens: texts of whole CLIP windows are repeated; cross-attention does not notice.

    Raises:
        InputError: widths or pooled outputs differ, or the numbers of tokens do not go together.
    """
    if a.embedding.shape[-1] != b.embedding.shape[-1]:
        raise InputError(
            f"The {names[0]} conditioning is {a.embedding.shape[-1]} wide and the {names[1]} one "
            f"{b.embedding.shape[-1]}: both have to come from the same text encoder."
        )
    if (a.pooled is None) != (b.pooled is None) or (a.pooled is not None and a.pooled.shape != b.pooled.shape):
        shapes = ["none" if entry.pooled is None else str(list(entry.pooled.shape)) for entry in (a, b)]
        raise InputError(f"The pooled outputs differ: {names[0]} {shapes[0]}, {names[1]} {shapes[1]}.")
    lengths = a.embedding.shape[1], b.embedding.shape[1]
    if lengths[0] == lengths[1]:
        return a, b
    longest = max(lengths)
    # Where the text also attends to itself repeating it changes it: in networks with a mask, or whose pooled output
    # comes from another encoder. A single CLIP's is as wide as its tokens, and SD 1 and 2 do not look at it.
    joint = any("attention_mask" in entry.extras for entry in (a, b))
    joint = joint or (a.pooled is not None and a.pooled.shape[-1] != a.embedding.shape[-1])
    if longest % min(lengths) or min(lengths) % 77 or joint:
        raise InputError(
            f"The {names[0]} text has {lengths[0]} tokens and the {names[1]} one {lengths[1]}; they cannot be brought "
            "together: write two texts of about the same length."
        )
    fitted = [
        entry.replaced(entry.embedding.repeat(1, longest // entry.embedding.shape[1], 1), None) for entry in (a, b)
    ]
    return fitted[0], fitted[1]


def _normal(tensor: Tensor, device: torch.device) -> Tensor:
    with no_inference_mode():  # always a copy: what is trained is never what another node holds
        return tensor.detach().to(device, torch.float32, copy=True)
