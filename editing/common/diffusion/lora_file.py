"""LoRA files: changes of a network under the names that other tools read, and that ours reads of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ....models.errors import InputError
from .lora import BLOCKS, Lora, in_blocks

__all__ = ["diff_tensors", "lora_tensors", "without_blocks"]

_DIFF_SUFFIXES = {"weight": "diff", "bias": "diff_b"}


def lora_tensors(loras: Mapping[str, Lora], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return low-rank changes by layer as the tensors of a LoRA file.

    Alpha equals the rank, so that strength 1 is what was trained.

    Args:
        loras: layer of the network -> its change.
        names: layer of the network -> its name in LoRA files.
    """
    tensors = {}
    for layer, lora in loras.items():
        name = names[layer]
        tensors[f"{name}.lora_up.weight"] = lora.up.detach().cpu().contiguous()
        tensors[f"{name}.lora_down.weight"] = lora.down.detach().cpu().contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(lora.down.shape[0]))
    return tensors


def diff_tensors(changes: Mapping[tuple[str, str], Tensor], lora_name: Callable[[str], str]) -> dict[str, Tensor]:
    """Return full-rank changes as the tensors of a LoRA file, which holds them as differences.

    Args:
        changes: (layer, "weight" or "bias") -> a tensor of that parameter's shape.
        lora_name: layer of the network -> its name in LoRA files.
    """
    return {
        f"{lora_name(layer)}.{_DIFF_SUFFIXES[kind]}": delta.cpu().contiguous()
        for (layer, kind), delta in changes.items()
    }


def without_blocks(lora: Mapping[str, Tensor], excluded: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of a LoRA file without those of some blocks, whose original weights come back.

    Args:
        excluded: some of BLOCKS.

    Raises:
        InputError: when a block is unknown.

    Source: the forgetting strategies of Forgedit (2309.10556).
    """
    unknown = [name for name in excluded if name not in BLOCKS]
    if unknown:
        raise InputError(f"Unknown blocks: {', '.join(unknown)}; expected some of {', '.join(BLOCKS)}.")
    return {key: tensor for key, tensor in lora.items() if not any(in_blocks(key, block) for block in excluded)}
