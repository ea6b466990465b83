"""Saved torch modules without their code: a tree of attributes, parameters and buffers."""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError
from ..wrappers import WRAPPERS, strip_wrappers
from .stored import Opaque, StoredArray, StoredTensor

MAX_TENSORS = 20_000
MAX_DEPTH = 32
MAX_NESTING = 4  # of {"state_dict": {"g_ema": ...}}

Stored = StoredTensor | StoredArray


def is_module(value: Any) -> bool:
    """Return whether an opaque object has the attributes of a torch module."""
    return isinstance(value, Opaque) and isinstance(value.get("_modules"), dict)


def unwrap(value: Any) -> Any:
    """Return the module inside its wrappers (DataParallel, torch.compile); other values as they are."""
    for _ in range(MAX_DEPTH):
        inner = value.get("_modules") if is_module(value) else None
        if not inner or len(inner) != 1 or next(iter(inner)) not in WRAPPERS:
            break
        value = next(iter(inner.values()))
    return value


def submodule(module: Opaque, path: str) -> Opaque | None:
    """Return the submodule at a dotted path, None where there is none; wrappers on the way are no part of the path."""
    current: Any = unwrap(module)
    for name in path.split("."):
        current = unwrap(current.get("_modules", {}).get(name)) if is_module(current) else None
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
    return strip_wrappers(tensors)


def _named_values(module: Opaque, group: str) -> list[tuple[str, Any]]:
    values = module.get(group)
    return [(k, v) for k, v in values.items() if isinstance(k, str)] if isinstance(values, dict) else []


def named_tensors(value: Any) -> dict[str, Stored]:
    """Return name -> tensor of a saved module or of a saved state dict; {} for anything else.

    Raises:
        CheckpointError: for endless or absurd modules.
    """
    value = unwrap(value)
    if is_module(value):
        return state_dict(value)
    if isinstance(value, dict):
        named = {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, StoredTensor | StoredArray)}
        return strip_wrappers(named)
    return {}


def inner_state_dicts(content: Any, keys: tuple[str, ...]) -> list[tuple[str, Any]]:
    """List where a checkpoint may keep a network: under each of the keys, also inside one another, then itself ("").

    Args:
        content: the file, as plain data.
        keys: the preferred ones first.

    Returns:
        (the key it lies under, the value).
    """
    listed: list[tuple[str, Any]] = []
    level = [content]
    for _ in range(MAX_NESTING):
        inner = [(key, value[key]) for value in level if isinstance(value, dict) for key in keys if key in value]
        listed += inner
        level = [value for _, value in inner][:MAX_NESTING]
    return [*listed, ("", content)]
