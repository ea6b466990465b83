"""Pair edit files: LoRA tensors at the top level, as ComfyUI's own LoRA loader opens them, with the slider's origin.

That loader applies the slider at one constant strength, content included; Load Pair Edit brings back the whole of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..code_range import LARGEST_WEIGHT, check_range, finite_number
from ..errors import CheckpointError, about_file
from ..printable import printable

__all__ = ["KIND", "read_pair_edit", "write_pair_edit"]

KIND = "pair_edit"


def write_pair_edit(
    path: str | Path,
    lora: Mapping[str, Tensor],  # factors by name, up [out, R], down [R, in] and alpha []
    model: str = "",
    states: Mapping[str, tuple[float, float]] | None = None,  # reading -> (before, after) on the example
    provenance: Mapping[str, object] | None = None,
    exclusive: bool = False,  # never replace a file; raises TakenError
) -> Path:
    """Write one slider."""
    config = {"model": model, "states": {name: list(pair) for name, pair in (states or {}).items()}}
    return write_safetensors(path, lora, KIND, config, provenance, exclusive=exclusive)


def read_pair_edit(path: str | Path) -> dict[str, Any]:
    """Read lora, model, states and provenance of :func:`write_pair_edit`, by name.

    Raises:
        CheckpointError: names the field that is wrong.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path, kind=KIND)
    config = parse_json(metadata, "config", path)
    for name, tensor in tensors.items():
        name = printable(name)[:80]
        if not tensor.is_floating_point() or not tensor.numel():
            raise CheckpointError(f"{path.name}: '{name}' should hold finite numbers.")
        with about_file(path):
            check_range(f"'{name}'", tensor, LARGEST_WEIGHT)
    model, states = config.get("model", ""), config.get("states", {})
    if not isinstance(model, str) or not isinstance(states, dict):
        raise CheckpointError(f"{path.name}: its fields 'model' and 'states' should be a text and an object.")
    return {
        "lora": tensors,
        "model": printable(model)[:200],
        "states": {printable(name)[:80]: _state(path, pair) for name, pair in states.items()},
        "provenance": parse_json(metadata, "provenance", path),
    }


def _state(path: Path, pair: Any) -> tuple[float, float]:
    numbers = [finite_number(value) for value in pair] if isinstance(pair, list) else []
    if len(numbers) != 2 or None in numbers:
        raise CheckpointError(f"{path.name}: each of its states should be two numbers, before and after.")
    return numbers[0], numbers[1]
