"""Rows of W+ and positions in a batch: parsed as a person types them, and grouped as the field does."""

from __future__ import annotations

import re

from ...models.errors import InputError
from .lists import typed_list

__all__ = ["GROUPS", "layer_groups", "parse_indices", "parse_rows"]

GROUPS = ("coarse", "middle", "fine")
_MOST_POSITIONS = 100_000
_RANGE = re.compile(r"(-?\d{1,9})(?:\s*-\s*(-?\d{1,9}))?")


def layer_groups(num_layers: int) -> dict[str, range]:
    """Return the rows of "coarse" (pose, shape), "middle" (features) and "fine" (colour, texture).

    The StyleGAN paper's split (1812.04948, section 3.1: up to 8 px, 16 to 32 px, the rest), and thirds where a
    generator has too few rows for it. With fewer than three rows, "fine" is empty.
    """
    third = -(-num_layers // 3)
    coarse, middle = min(4, third), min(8, 2 * third, num_layers)
    return {"coarse": range(coarse), "middle": range(coarse, middle), "fine": range(middle, num_layers)}


def parse_rows(text: str, num_layers: int, name: str = "rows") -> tuple[int, ...]:
    """Read the rows that take part: "all", group names, numbers and ranges, with commas between ("coarse, 8-9").

    Args:
        text: as typed.
        num_layers: L, the rows there are; -1 is the last.
        name: the input's, for the sentence.

    Returns:
        Row numbers, ascending, once each.

    Raises:
        InputError: not readable, a row that does not exist, or no row at all.
    """
    groups = {"all": range(num_layers), **layer_groups(num_layers)}
    rows: set[int] = set()
    for entry in _entries(text, name, "'all', 'coarse', 'middle', 'fine', or rows such as '0-5'"):
        group = groups.get(entry.lower())
        rows.update(_numbers(entry, num_layers, name) if group is None else group)
    if not rows:
        raise InputError(f"{name}: {text!r} names no row of this generator, which has only {num_layers}. Use 'all'.")
    return tuple(sorted(rows))


def parse_indices(text: str, count: int, name: str = "indices") -> list[int]:
    """Read a list of positions such as "0, 2-5, -1", in the order typed; repeats stay, ranges may run backwards.

    Args:
        text: as typed; "all" means every position. Counting starts at 0, and -1 is the last.
        count: how many there are.
        name: the input's, for the sentence.

    Raises:
        InputError: not readable, empty, a position that does not exist, or more than 100,000 of them.
    """
    indices: list[int] = []
    for entry in _entries(text, name, "positions such as '0, 2-5, -1', or 'all'"):
        indices += range(count) if entry.lower() == "all" else _numbers(entry, count, name)
        if len(indices) > _MOST_POSITIONS:
            raise InputError(f"{name} names more than {_MOST_POSITIONS} positions; name fewer at once.")
    return indices


def _entries(text: str, name: str, expected: str) -> list[str]:
    """Split a list that may not be empty."""
    entries = typed_list(text)
    if not entries:
        raise InputError(f"{name} is empty: expected {expected}.")
    return entries


def _numbers(entry: str, count: int, name: str) -> list[int]:
    """Read a number or a range such as "2-5", in 0..count-1."""
    match = _RANGE.fullmatch(entry)
    if match is None:
        raise InputError(
            f"{name}: {entry!r} is neither a number, a range such as '2-5', nor a name known here. "
            f"Use 0 to {count - 1}, with commas between."
        )
    ends = [int(end) for end in match.groups() if end is not None]
    for end in ends:
        if not -count <= end < count:
            raise InputError(f"{name}: there is no {end}; use 0 to {count - 1} (-1 is the last).")
    first, last = ends[0] % count, ends[-1] % count
    step = 1 if last >= first else -1
    return list(range(first, last + step, step))
