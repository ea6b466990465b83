"""Imagic files (2210.09276): the optimised embedding, the LoRA of the tuned model, and their provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoint import parse_json, read_safetensors, strip_prefix, write_safetensors
from ..code_range import LARGEST_WEIGHT, check_range
from ..errors import CheckpointError, about_file
from ..printable import printable

__all__ = ["KIND", "LearnedLora", "read_imagic", "write_imagic"]

KIND = "imagic"
_LORA, _EXTRA = "lora.", "extra."


class LearnedLora(dict[str, Tensor]):
    """The tensors of a LoRA file that know how they were learned; a plain dictionary to all who do not ask.

    Args:
        tensors: factors or differences by name.
        learning: method, steps, rate and the rule it comes from, ...: what a file's provenance keeps.
    """

    def __init__(self, tensors: Mapping[str, Tensor], learning: Mapping[str, object]) -> None:
        super().__init__(tensors)
        self.learning = dict(learning)


def write_imagic(
    path: str | Path,
    embedding: Tensor,  # [1, T, D]
    extras: Mapping[str, Any],  # of the conditioning: pooled output, sizes, masks
    lora: Mapping[str, Tensor],  # factors by name, [R, in] and [out, R]
    prompt: str = "",
    provenance: Mapping[str, object] | None = None,
    exclusive: bool = False,  # never replace a file; raises TakenError
) -> Path:
    """Write one edit. Of the extras, only tensors, numbers, texts and truth values are stored."""
    tensors = {"embedding": embedding.float()}
    tensors.update({_LORA + name: tensor for name, tensor in lora.items()})
    tensors.update({_EXTRA + name: value for name, value in extras.items() if isinstance(value, Tensor)})
    scalars = {name: value for name, value in extras.items() if isinstance(value, bool | int | float | str)}
    config = {"prompt": prompt, "extras": scalars}
    return write_safetensors(path, tensors, KIND, config, provenance, exclusive=exclusive)


def read_imagic(path: str | Path) -> dict[str, Any]:
    """Read embedding [1, T, D], extras, lora, prompt and provenance of :func:`write_imagic`, by name.

    Raises:
        CheckpointError: names the field that is wrong.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path, kind=KIND)
    config = parse_json(metadata, "config", path)
    embedding = tensors.get("embedding")
    if embedding is None or embedding.ndim != 3 or embedding.shape[0] != 1 or not embedding.is_floating_point():
        raise CheckpointError(f"{path.name}: its embedding should be [1, tokens, width].")
    for name, tensor in tensors.items():
        if name.startswith(_EXTRA):
            continue  # masks and indices travel there as well
        name = printable(name)[:80]
        if not tensor.is_floating_point() or not tensor.numel():
            raise CheckpointError(f"{path.name}: '{name}' should hold finite numbers.")
        with about_file(path):
            check_range(f"'{name}'", tensor, LARGEST_WEIGHT)
    extras, prompt = config.get("extras", {}), config.get("prompt", "")
    if not isinstance(extras, dict) or not isinstance(prompt, str):
        raise CheckpointError(f"{path.name}: its fields 'extras' and 'prompt' should be an object and a text.")
    extras = {name: value for name, value in extras.items() if isinstance(value, bool | int | float | str)}
    extras.update(strip_prefix(tensors, _EXTRA))
    return {
        "embedding": embedding.float(),
        "extras": extras,
        "lora": strip_prefix(tensors, _LORA),
        "prompt": prompt,
        "provenance": parse_json(metadata, "provenance", path),
    }
