"""Numbers that come by a wire keep to their input's range, as those that are typed do.

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
    """The same class, whose execute first looks at every number among its inputs."""
    plain: Callable[..., Any] = node.execute.__func__  # type: ignore[attr-defined]
    if hasattr(plain, "__wrapped__"):
        return node  # it was done when the nodes were listed before
    ranges = {}
    for socket in node.GET_SCHEMA().inputs or []:
        low, high = getattr(socket, "min", None), getattr(socket, "max", None)
        if low is not None and high is not None:
            ranges[socket.id] = (low, high)

    @functools.wraps(plain)
    def execute(cls: type[io.ComfyNode], **inputs: Any) -> Any:
        for name, (low, high) in ranges.items():
            given = inputs.get(name)
            for value in given if isinstance(given, list) else [given]:
                _check(name, value, low, high)
        return plain(cls, **inputs)

    node.execute = classmethod(execute)  # type: ignore[assignment]
    return node


def _check(name: str, value: Any, low: float, high: float) -> None:
    slack = 0 if isinstance(value, int) else _SLACK * max(abs(low), abs(high))
    finite = isinstance(value, int) or isinstance(value, float) and math.isfinite(value)
    if isinstance(value, int | float) and not (finite and low - slack <= value <= high + slack):
        raise InputError(f"The input '{name}' is {value}; expected a number from {low} to {high}.")
