"""Changes of a network under the names that LoRA files use, so that other tools read them and ours reads theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ...models.errors import InputError
from .lora import BLOCKS, Lora, in_blocks

__all__ = ["lora_tensors", "whole_tensors", "without_blocks"]


def lora_tensors(loras: Mapping[str, Lora], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Changes by layer -> the tensors of a LoRA file; alpha equals the rank, so that strength 1 is what was trained.

    Args:
        names: layer of the network -> its name in LoRA files.
    """
    tensors = {}
    for layer, lora in loras.items():
        name = names[layer]
        tensors[f"{name}.lora_up.weight"] = lora.up.detach().cpu().contiguous()
        tensors[f"{name}.lora_down.weight"] = lora.down.detach().cpu().contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(lora.down.shape[0]))
    return tensors


def whole_tensors(changes: Mapping[tuple[str, str], Tensor], name_of: Callable[[str], str]) -> dict[str, Tensor]:
    """Whole changes by (layer, "weight" or "bias") -> tensors of a LoRA file, as such files hold differences."""
    kinds = {"weight": "diff", "bias": "diff_b"}
    return {f"{name_of(layer)}.{kinds[part]}": delta.cpu().contiguous() for (layer, part), delta in changes.items()}


def without_blocks(lora: Mapping[str, Tensor], forgotten: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of a LoRA file without those of some blocks, whose original weights come back.

    Raises:
        InputError: an unknown block.

    Source: the forgetting strategies of Forgedit (2309.10556).
    """
    unknown = [name for name in forgotten if name not in BLOCKS]
    if unknown:
        raise InputError(f"Unknown blocks: {', '.join(unknown)}; expected some of {', '.join(BLOCKS)}.")
    return {key: tensor for key, tensor in lora.items() if not any(in_blocks(key, block) for block in forgotten)}
