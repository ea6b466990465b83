"""CLIP text encoders: sentences to conditioning, as ComfyUI's CLIPTextEncode makes it of the same networks.

One encoder (Stable Diffusion 1 and 2): the last states behind the final norm, and the end marker's state unprojected as
pooled output. Two encoders (SDXL): the states before the last layer of both, side by side, and the projected pooled
output of the second. Weights in parentheses, "(a hat:1.2)", pull a token's state away from that of the empty sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import InputError

__all__ = ["TextEncoder", "TextTower"]

_LONG_WORD = 8  # tokens; shorter groups are not broken at the end of a row
_ESCAPES = {"\\(": "\0", "\\)": "\1"}

Tokens = list[list[tuple[int, float]]]  # rows of (token, weight)


@dataclass(frozen=True, eq=False)
class TextTower:
    """One text encoder and its tokenizer, from transformers."""

    network: nn.Module
    tokenizer: Any

    @property
    def length(self) -> int:
        """Return the tokens of a row, markers included."""
        return int(self.network.config.max_position_embeddings)

    def rows(self, text: str) -> Tokens:
        """Tokenize a sentence to rows of `length` (token, weight); what does not fit in one goes on in the next."""
        start, end, pad = (getattr(self.tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad"))
        groups = [
            [(token, weight) for token in self.tokenizer(piece, add_special_tokens=False).input_ids]
            for piece, weight in weighted_pieces(text)
        ]
        rows: Tokens = [[(start, 1.0)]]
        for group in groups:
            long = len(group) >= _LONG_WORD
            while group:
                room = self.length - 1 - len(rows[-1])
                if len(group) > room:
                    if long:
                        rows[-1] += group[:room]
                        group = group[room:]
                    rows.append([(start, 1.0)])
                else:
                    rows[-1] += group
                    group = []
        return [[*row, (end, 1.0), *[(pad, 1.0)] * (self.length - 1 - len(row))] for row in rows]

    def states(self, rows: list[list[int]], before_last: bool) -> tuple[Tensor, Tensor]:
        """Encode R rows of T tokens: states [R, T, D] and pooled output [R, P], projected where the network projects.

        Args:
            before_last: take the states before the last layer, without the final norm (SDXL).
        """
        ids = torch.tensor(rows, device=next(self.network.parameters()).device)
        with torch.no_grad():
            output = self.network(ids, output_hidden_states=before_last)
        states = output.hidden_states[-2] if before_last else output.last_hidden_state
        projected = getattr(output, "text_embeds", None)
        pooled = projected if projected is not None else _end_states(output.last_hidden_state, ids, self.tokenizer)
        return states.float(), pooled.float()


class TextEncoder:
    """One or two towers as CLIP carries them.

    Args:
        towers: one, or SDXL's two in the order of its folder.
        before_last: states before the last layer, without the final norm (SDXL).
        name: for messages.
    """

    def __init__(self, towers: list[TextTower], before_last: bool = False, name: str = "text encoder") -> None:
        self.towers, self.before_last, self.name = towers, before_last, name

    def networks(self) -> list[nn.Module]:
        """Return the networks, which the host has to bring to its device."""
        return [tower.network for tower in self.towers]

    def encode(self, text: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode a sentence: an embedding [1, T, D] and {"pooled_output": [1, P]}, float32 on the CPU.

        Raises:
            InputError: when the sentence asks for a textual inversion by "embedding:", which only ComfyUI has.
        """
        if "embedding:" in text:
            raise InputError("The text names an 'embedding:'; textual inversions are read by ComfyUI only: remove it.")
        encoded = [self._encode(tower, text) for tower in self.towers]
        tokens = min(states.shape[1] for states, _ in encoded)
        embedding = torch.cat([states[:, :tokens] for states, _ in encoded], dim=-1)
        return embedding.cpu(), {"pooled_output": encoded[-1][1].cpu()}

    def tokenize(self, text: str) -> str:
        """Do ComfyUI's first half of encoding; here the sentence itself."""
        return text

    def encode_from_tokens_scheduled(self, tokens: str) -> list[list]:
        """Do ComfyUI's second half: CONDITIONING of one entry."""
        embedding, extras = self.encode(tokens)
        return [[embedding, extras]]

    def _encode(self, tower: TextTower, text: str) -> tuple[Tensor, Tensor]:
        """Return one tower's states [1, T, D] and pooled output [1, P]."""
        rows = tower.rows(text)
        neutral = all(weight == 1.0 for row in rows for _, weight in row)
        ids = [[token for token, _ in row] for row in rows]
        # An empty sentence is pulled from only where a weight asks for it.
        states, pooled = tower.states(ids if neutral else [*ids, [t for t, _ in tower.rows("")[0]]], self.before_last)
        if not neutral:
            weights = torch.tensor([[weight for _, weight in row] for row in rows]).to(states)[..., None]
            states, empty = states[:-1], states[-1:]
            states = torch.where(weights == 1.0, states, (states - empty) * weights + empty)
        return rearrange(states, "rows t d -> 1 (rows t) d"), pooled[:1]


def weighted_pieces(text: str, weight: float = 1.0) -> Iterator[tuple[str, float]]:
    r"""Split a sentence into weighted pieces: "(x)" 1.1 times, "(x:1.3)" exactly 1.3, "\(" a plain parenthesis."""
    for escape, mark in _ESCAPES.items():
        text = text.replace(escape, mark)
    for piece, piece_weight in _pieces(text, weight):
        for escape, mark in _ESCAPES.items():
            piece = piece.replace(mark, escape[1:])
        yield piece, piece_weight


def _pieces(text: str, weight: float) -> Iterator[tuple[str, float]]:
    """Split at parentheses of the outermost level.

    A parenthesis too many, as in "a smile :) (a hat:1.2)", is taken as ComfyUI takes it: the depth goes below 0.
    """
    piece, depth = "", 0
    for letter in text:
        if letter == "(" and depth == 0:
            yield from _piece(piece, weight)
            piece = ""
        piece += letter
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth == 0:
            yield from _piece(piece, weight)
            piece = ""
    yield from _piece(piece, weight)


def _piece(piece: str, weight: float) -> Iterator[tuple[str, float]]:
    if len(piece) < 2 or (piece[0], piece[-1]) != ("(", ")"):
        if piece:
            yield piece, weight
        return
    inner, colon = piece[1:-1], piece.rfind(":") - 1
    try:
        written_weight = float(inner[colon + 1 :]) if colon > 0 else None
    except ValueError:
        written_weight = None
    yield from _pieces(inner, weight * 1.1) if written_weight is None else _pieces(inner[:colon], written_weight)


def _end_states(states: Tensor, ids: Tensor, tokenizer: Any) -> Tensor:
    """Return the states [R, D] of the first end marker of each row."""
    return states[torch.arange(len(ids)), (ids == tokenizer.eos_token_id).int().argmax(dim=1)]
