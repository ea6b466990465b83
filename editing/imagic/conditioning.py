"""CONDITIONING as nodes pass it on, a list of [embedding [1, T, D], extras], and the one entry of it that is edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import no_inference_mode

__all__ = ["MASK", "POOLED", "Conditioning", "conditioning_list", "single_conditioning"]

POOLED, MASK = "pooled_output", "attention_mask"
_OTHER_TEXT = "conditioning_"  # begins the keys of further encoders' tokens: HiDream's Llama, HunyuanDiT's mT5, byT5
_TOKEN_KEYS = ("t5xxl_ids", "t5xxl_weights")  # Anima's own tokens, which go with its embedding
_SAMPLING_ONLY = ("control", "area", "mask", "gligen", "hooks")
_FULL_RANGE = {"start_percent": 0.0, "end_percent": 1.0}  # other values act while sampling only


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

    @property
    def text_tensors(self) -> dict[str, Tensor]:
        """Return what the text encoders say beside the embedding, by key.

        The pooled output [1, P], and the tokens [1, T, D] or [1, layers, T, D] of further encoders.
        """
        return {
            key: tensor
            for key, tensor in self.extras.items()
            if (key == POOLED or key.startswith(_OTHER_TEXT)) and _is_real(tensor)
        }

    @property
    def text_extras(self) -> dict[str, Any]:
        """Return all that belongs to these very tokens: `text_tensors`, masks and tokens of an adapter, by key."""
        return {key: value for key, value in self.extras.items() if _belongs_to_text(key)}

    def with_tensors(self, embedding: Tensor, pooled: Tensor | None) -> Conditioning:
        """Return the same entry with other tensors, [1, T, D] and [1, P]; every other key stays."""
        return self.with_text(embedding, {} if pooled is None else {POOLED: pooled})

    def with_text(self, embedding: Tensor, extras: Mapping[str, Any]) -> Conditioning:
        """Return the same entry with another embedding [1, T, D] and these extras; every other key stays."""
        return Conditioning(embedding, {**self.extras, **extras})

    def trainable_copy(self, device: torch.device) -> Conditioning:
        """Return the entry with float32 copies of its tensors on ``device``, which may enter a graph."""
        copies = {key: _trainable_copy(tensor, device) for key, tensor in self.text_tensors.items()}
        return self.with_text(_trainable_copy(self.embedding, device), copies)

    def detached_like(self, reference: Conditioning) -> Conditioning:
        """Return ``reference`` with this entry's text, out of its graph, on its device and in its precision."""
        device, dtype = reference.embedding.device, reference.embedding.dtype
        text = self.text_extras
        text |= {key: tensor.detach().to(device, dtype) for key, tensor in self.text_tensors.items()}
        others = {key: value for key, value in reference.extras.items() if not _belongs_to_text(key) or key in text}
        return Conditioning(self.embedding.detach().to(device, dtype), {**others, **text})


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


def _belongs_to_text(key: str) -> bool:
    return key == POOLED or key.startswith((_OTHER_TEXT, MASK)) or key in _TOKEN_KEYS


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _trainable_copy(tensor: Tensor, device: torch.device) -> Tensor:
    with no_inference_mode():  # always a copy: what is trained is never what another node holds
        return tensor.detach().to(device, torch.float32, copy=True)
