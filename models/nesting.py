"""Nesting of values that were read from JSON."""

from __future__ import annotations

from typing import Any


def is_deeper(document: Any, limit: int) -> bool:
    """Return True when lists and objects lie more than ``limit`` deep within each other; in linear time.

    Readers and writers that call themselves for each level would run out of stack.
    """
    level = [document]
    for _ in range(limit + 1):
        level = [value for value in level if isinstance(value, dict | list)]
        if not level:
            return False
        level = [value for each in level for value in (each.values() if isinstance(each, dict) else each)]
    return True
