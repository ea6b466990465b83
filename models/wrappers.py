"""Names of tensors without the wrappers that training put around a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from .errors import CheckpointError

__all__ = ["WRAPPERS", "strip_wrappers"]

Value = TypeVar("Value")
# What a wrapper puts into the names of its module's tensors: DataParallel, torch.compile, FSDP, checkpointing.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


def strip_wrappers(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values under the names they have without wrappers, at whatever depth those are.

    Raises:
        CheckpointError: when two would have one name.
    """
    stripped: dict[str, Value] = {}
    for name, value in values.items():
        short = ".".join(step for step in name.split(".") if step not in WRAPPERS) or name
        if short in stripped:
            raise CheckpointError(f"holds two tensors for {short[:80]!r}, one of them inside a wrapper")
        stripped[short] = value
    return stripped
