"""Saved torch modules without their code: a tree of attributes, parameters and buffers."""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError
from .stored import Opaque, StoredArray, StoredTensor

MAX_TENSORS = 20_000
MAX_DEPTH = 32

Stored = StoredTensor | StoredArray


def is_module(value: Any) -> bool:
    """Return whether an opaque object has the attributes of a torch module."""
    return isinstance(value, Opaque) and isinstance(value.get("_modules"), dict)


def unwrap(value: Any) -> Any:
    """Return the module inside a DataParallel, which was saved with its wrapper; other values as they are."""
    for _ in range(4):
        inner = value.get("_modules") if is_module(value) else None
        if not inner or list(inner) != ["module"]:
            break
        value = inner["module"]
    return value


def submodule(module: Opaque, path: str) -> Opaque | None:
    """Return the submodule at a dotted path, None where there is none."""
    current: Any = module
    for name in path.split("."):
        current = current.get("_modules", {}).get(name) if is_module(current) else None
    return current if is_module(current) else None


def state_dict(module: Opaque) -> dict[str, Stored]:
    """Return name -> tensor, as the module's own state_dict() would.

    Raises:
        CheckpointError: for endless or absurd trees.
    """
    tensors: dict[str, Stored] = {}
    queue: list[tuple[str, Opaque, int]] = [("", module, 0)]
    visited = 0
    while queue:
        prefix, current, depth = queue.pop()
        visited += 1
        if visited > MAX_TENSORS or depth > MAX_DEPTH:
            raise CheckpointError("has more or deeper nested modules than any generator")
        for group in ("_parameters", "_buffers"):
            for name, value in _named_values(current, group):
                if isinstance(value, StoredTensor | StoredArray):
                    tensors[prefix + name] = value
        for name, value in _named_values(current, "_modules"):
            if is_module(value):
                queue.append((f"{prefix}{name}.", value, depth + 1))
    return tensors


def _named_values(module: Opaque, group: str) -> list[tuple[str, Any]]:
    values = module.get(group)
    return [(k, v) for k, v in values.items() if isinstance(k, str)] if isinstance(values, dict) else []


def named_tensors(value: Any) -> dict[str, Stored]:
    """Return name -> tensor of a saved module or of a saved state dict; {} for anything else."""
    value = unwrap(value)
    if is_module(value):
        return state_dict(value)
    if isinstance(value, dict):
        return {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, StoredTensor | StoredArray)}
    return {}
