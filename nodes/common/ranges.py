"""Range checks: numbers that come by a wire keep to their input's range, as those that are typed do.

ComfyUI compares typed numbers with an input's range before anything runs. What another node computes it hands on
unseen, and not-a-number passes even that comparison; ten thousand million frames would then be asked of the memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ...host import io
from ...models.errors import InputError

__all__ = ["within_ranges"]

_SLACK = 1e-6  # of the range's larger end: what arithmetic on the way may have added


def within_ranges(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """Return the same class, whose execute first checks every number among its inputs."""
    plain: Callable[..., Any] = node.execute.__func__  # type: ignore[attr-defined]
    if hasattr(plain, "__wrapped__"):
        return node  # it was done when the nodes were listed before
    ranges = _ranges_of(node.GET_SCHEMA().inputs or [])

    @functools.wraps(plain)
    def execute(cls: type[io.ComfyNode], **inputs: Any) -> Any:
        for name, (low, high) in ranges.items():
            values = inputs.get(name)
            for value in values if isinstance(values, list) else [values]:
                _check_range(name, value, low, high)
        return plain(cls, **inputs)

    node.execute = classmethod(execute)  # type: ignore[assignment]
    return node


def _ranges_of(sockets: list) -> dict[str, tuple[float, float]]:
    """Return id -> (min, max) of the inputs that have both."""
    limits = {socket.id: (getattr(socket, "min", None), getattr(socket, "max", None)) for socket in sockets}
    return {name: (low, high) for name, (low, high) in limits.items() if low is not None and high is not None}


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    slack = 0 if isinstance(value, int) else _SLACK * max(abs(low), abs(high))
    finite = isinstance(value, int) or isinstance(value, float) and math.isfinite(value)
    if isinstance(value, int | float) and not (finite and low - slack <= value <= high + slack):
        raise InputError(f"The input '{name}' is {value}; expected a number from {low} to {high}.")
