"""Strengths per block of a network: what a slider changes in each, as numbers that are written and read by hand.

They live in the slider's alphas, so that every LoRA loader honours them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import torch

from ...models.errors import InputError
from ...models.printable import printable
from ..common.diffusion.denoiser import Denoiser
from .edit import PairEdit

__all__ = ["OTHER", "block_of", "block_strengths", "parse_strengths", "strengths_text", "with_block_strengths"]

OTHER = "other"  # layers outside of any block: embeddings of time and text, the first and last layer
_BLOCK = re.compile(r"((?:\w+\.)*?\w*(?:block|blocks|layers|refiner)(?:\.[a-z]+)?\.\d+)\.")
_LIMIT = 100.0


def block_of(layer: str) -> str:
    """Return the block of a layer by its name in the network, such as "input_blocks.4" or "double_blocks.17"."""
    match = _BLOCK.match(layer)
    return match[1] if match else OTHER


def block_strengths(edit: PairEdit, denoiser: Denoiser) -> dict[str, float]:
    """Return the strength of each block that a slider changes, in the network's order.

    Raises:
        InputError: when the slider belongs to another model.
    """
    strengths: dict[str, list[float]] = {}
    for layer in edit.loras_for(denoiser):
        strengths.setdefault(block_of(layer), []).append(edit.layer_strength(denoiser.lora_name(layer)))
    return {block: sum(values) / len(values) for block, values in strengths.items()}


def with_block_strengths(edit: PairEdit, denoiser: Denoiser, strengths: Mapping[str, float]) -> PairEdit:
    """Return the slider with these strengths, of its own 1, in the blocks named; other blocks stay.

    Raises:
        InputError: when the slider changes no such block, a strength is not finite or beyond 100, or the slider belongs
            to another model.
    """
    blocks = block_strengths(edit, denoiser)
    unknown = [block for block in strengths if block not in blocks]
    if unknown:
        raise InputError(
            f"The pair edit changes no block '{printable(unknown[0])[:80]}' of '{denoiser.name}'; it changes "
            f"{', '.join(blocks)}."
        )
    for block, strength in strengths.items():
        if not math.isfinite(strength) or abs(strength) > _LIMIT:
            raise InputError(
                f"The strength of the block '{block}' is {strength:g}; expected -{_LIMIT:g} to {_LIMIT:g}."
            )
    by_stem = {denoiser.lora_name(layer): block_of(layer) for layer in edit.loras_for(denoiser)}
    lora = dict(edit.lora)
    for stem, block in by_stem.items():
        if block in strengths:
            lora[f"{stem}.alpha"] = torch.tensor(float(strengths[block]) * len(lora[f"{stem}.lora_down.weight"]))
    provenance = {**edit.provenance, "strength_per_block": {**blocks, **strengths}}
    return PairEdit(lora, edit.model, edit.states, provenance, edit.losses)


def strengths_text(strengths: Mapping[str, float]) -> str:
    """Write strengths as lines of "block: number"."""
    return "\n".join(f"{block}: {strength:g}" for block, strength in strengths.items())


def parse_strengths(text: str) -> dict[str, float]:
    """Read lines, or parts between commas, of "block: number".

    Raises:
        InputError: when one is not of that form, or a block comes twice.
    """
    strengths: dict[str, float] = {}
    for entry in _entries(text):
        block, separator, number = (word.strip() for word in entry.rpartition(":"))
        try:
            strength = float(number) if separator and block else math.nan
        except ValueError:
            strength = math.nan
        if not math.isfinite(strength) or block in strengths:
            reason = "names a block again" if block in strengths else "is not of the form 'block: number'"
            raise InputError(
                f"strength_per_block: '{printable(entry)[:80]}' {reason}; expected lines such as 'middle_block.1: 0.5'."
            )
        strengths[block] = strength
    return strengths


def _entries(text: str) -> Iterable[str]:
    return (entry.strip() for entry in re.split(r"[,;\n]", text) if entry.strip())
