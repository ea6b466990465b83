"""Numbers that are typed in one line: '0, 0.5, 1' or '0 to 1 in 3'."""

from __future__ import annotations

import math

from ...editing.common.lists import typed_list
from ...models.errors import InputError

_MOST_NUMBERS = 64  # that are typed in one line


def typed_numbers(text: str, name: str, least: int = 2) -> list[float]:
    """Read numbers that are typed in one line, "0, 0.5, 1" or "0 to 1 in 3": ascending, once each.

    Raises:
        InputError: what is no finite number, fewer than ``least`` different ones, or more than 64.
    """
    words = text.split()
    if len(words) == 5 and (words[1], words[3]) == ("to", "in"):
        first, last, count = (_finite_number(word, name) for word in words[::2])
        if not 2 <= count <= _MOST_NUMBERS or count != int(count):
            raise InputError(f"{name}: {text[:40]!r} asks for {count:g} numbers; expected 2 to {_MOST_NUMBERS}.")
        numbers = [first + (last - first) * k / (count - 1) for k in range(int(count))]
    else:
        numbers = [_finite_number(entry, name) for entry in typed_list(text)]
    numbers = sorted({round(number, 6) for number in numbers})
    if not least <= len(numbers) <= _MOST_NUMBERS:
        raise InputError(
            f"{name}: {text[:40]!r} has {len(numbers)} different numbers; expected {least} or more, {_MOST_NUMBERS} at "
            "most."
        )
    return numbers


def _finite_number(word: str, name: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name}: {word[:40]!r} is no number; expected numbers such as '0, 0.5, 1' or '0 to 1 in 3'.")
    return number
