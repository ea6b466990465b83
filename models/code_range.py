"""Ranges of numbers from files and wires: finite is not enough for a picture."""

from __future__ import annotations

import math

from torch import Tensor

from .errors import InputError

__all__ = ["LARGEST_CODE", "LARGEST_WEIGHT", "check_range", "finite_number", "is_number"]

LARGEST_CODE = 1e4  # of codes and edits: W holds a few tens at most, and beyond a thousand every picture is black
LARGEST_WEIGHT = 1e8  # of networks and normals; squares of such still fit in float32


def check_range(name: str, tensor: Tensor, largest: float = LARGEST_CODE) -> None:
    """Refuse numbers beyond any use, or that are not finite.

    Args:
        name: of what holds them, as the sentence begins: "The direction 'smile'".
        tensor: floating point, of any shape.

    Raises:
        InputError: says how large they are.
    """
    size = float(tensor.detach().abs().max()) if tensor.numel() else 0.0
    if not math.isfinite(size):
        raise InputError(f"{name} must hold finite numbers; some are not finite.")
    if size > largest:
        raise InputError(f"{name} must hold numbers of at most {largest:g}; the largest is {size:.3g}.")


def is_number(value: object) -> bool:
    """Tell whether a value is a number as JSON or a user gives it; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite_number(value: object) -> float | None:
    """Return a number as JSON or a user gives it as a float; None for anything else, infinite and endless ones too."""
    if not is_number(value):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of four hundred digits
        return None
    return number if math.isfinite(number) else None
