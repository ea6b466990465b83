"""Texts of unequal numbers of tokens, brought together: whole CLIP windows repeated, other texts padded and masked."""

from __future__ import annotations

from typing import Any

import torch
from einops import repeat
from torch import Tensor

from ...models.errors import InputError
from .conditioning import MASK, POOLED, Conditioning

__all__ = ["check_same_encoder", "match_lengths", "pad_to", "token_count"]

_CLIP_WINDOW = 77  # tokens
_CROSS_ATTENTION_ONLY = (1280, 2048)  # widths of SDXL's pooled output and embedding


def token_count(entry: Conditioning) -> int:
    """Return T of an entry's embedding [1, T, D]."""
    return entry.embedding.shape[1]


def match_lengths(
    a: Conditioning, b: Conditioning, names: tuple[str, str] = ("optimised", "target")
) -> tuple[Conditioning, Conditioning]:
    """Bring two entries to the same number of tokens.

    Texts of whole CLIP windows are repeated, which cross-attention does not notice: every key appears as often. Others
    are padded with their last token, as their encoder would do, and the attention mask that the network reads hides
    the padding.

    Args:
        names: what messages call the two.

    Raises:
        InputError: when widths or pooled outputs differ.
    """
    check_same_encoder(a, b, names)
    lengths = token_count(a), token_count(b)
    if lengths[0] != lengths[1]:
        longest = max(lengths)
        windows = not longest % min(lengths) and not min(lengths) % _CLIP_WINDOW
        if windows and not (_attends_to_text(a) or _attends_to_text(b)):
            a, b = (_repeated(entry, longest) for entry in (a, b))
        else:
            has_mask = _reads_mask(a) or _reads_mask(b)
            a, b = (_padded(entry, longest, has_mask) for entry in (a, b))
    return _matched_encoders(a, b)


def pad_to(entry: Conditioning, count: int) -> Conditioning:
    """Pad an entry to ``count`` tokens, as `match_lengths` does; one that has them comes back as it is."""
    return entry if token_count(entry) >= count else _padded(entry, count, _reads_mask(entry))


def check_same_encoder(a: Conditioning, b: Conditioning, names: tuple[str, str] = ("optimised", "target")) -> None:
    """Refuse two entries that cannot come from one text encoder.

    Raises:
        InputError: when widths or pooled outputs differ; the sentence names both.
    """
    if a.embedding.shape[-1] != b.embedding.shape[-1]:
        raise InputError(
            f"The {names[0]} conditioning is {a.embedding.shape[-1]} wide and the {names[1]} one "
            f"{b.embedding.shape[-1]}: both have to come from the same text encoder."
        )
    shapes = ["none" if entry.pooled is None else str(list(entry.pooled.shape)) for entry in (a, b)]
    if shapes[0] != shapes[1]:
        raise InputError(f"The pooled outputs differ: {names[0]} {shapes[0]}, {names[1]} {shapes[1]}.")


def _reads_mask(entry: Conditioning) -> bool:
    """Tell whether the network may read an attention mask: its entries have one, or are tokens alone."""
    return MASK in entry.extras or entry.pooled is None


def _attends_to_text(entry: Conditioning) -> bool:
    """Tell whether the network's text also attends to itself, so that repeating it would change it.

    So in networks with a mask, or whose pooled output comes from another encoder. A single CLIP's is as wide as its
    tokens, and SD 1 and 2 do not look at it; SDXL is told by its widths.
    """
    if MASK in entry.extras:
        return True
    pooled, width = entry.pooled, entry.embedding.shape[-1]
    return pooled is not None and pooled.shape[-1] != width and (pooled.shape[-1], width) != _CROSS_ATTENTION_ONLY


def _repeated(entry: Conditioning, count: int) -> Conditioning:
    embedding = repeat(entry.embedding, "1 t d -> 1 (times t) d", times=count // token_count(entry))
    return entry.with_text(embedding, {})


def _padded(entry: Conditioning, count: int, has_mask: bool) -> Conditioning:
    extras: dict[str, Any] = {}
    if has_mask:
        mask = entry.extras.get(MASK)
        if mask is None:  # of whole numbers: networks turn those into what they add to their attention
            mask = torch.ones(1, token_count(entry), dtype=torch.int64, device=entry.embedding.device)
        extras[MASK] = torch.cat([mask, mask.new_zeros(*mask.shape[:-1], count - mask.shape[-1])], dim=-1)
    return entry.with_text(_pad_tokens(entry.embedding, count), extras)


def _matched_encoders(a: Conditioning, b: Conditioning) -> tuple[Conditioning, Conditioning]:
    """Pad the tokens of further encoders [1, T, D] or [1, layers, T, D], for which networks read no mask."""
    for key in (a.text_tensors.keys() & b.text_tensors.keys()) - {POOLED}:
        one, other = a.text_tensors[key], b.text_tensors[key]
        if one.ndim == other.ndim and one.ndim > 2 and one.shape[-2] != other.shape[-2]:
            count = max(one.shape[-2], other.shape[-2])
            a, b = (
                entry.with_text(entry.embedding, {key: _pad_tokens(entry.text_tensors[key], count)}) for entry in (a, b)
            )
    return a, b


def _pad_tokens(tokens: Tensor, count: int) -> Tensor:
    """Repeat the last of the tokens [..., T, D] up to ``count``."""
    missing = count - tokens.shape[-2]
    return torch.cat([tokens, tokens[..., -1:, :].expand(*tokens.shape[:-2], missing, tokens.shape[-1])], dim=-2)
