"""Rows of W+ by name or number, as people type them."""

from __future__ import annotations

import re

from ..models.errors import InputError

GROUPS = ("coarse", "middle", "fine")


def parse_rows(text: str, count: int) -> tuple[int, ...]:
    """"all", "coarse", "middle", "fine" (the thirds of the rows, in order), or numbers such as "0-5, 8" -> rows.

    Coarse rows hold pose and shape, middle ones features, fine ones colour. Raises InputError for anything else.
    """
    rows: set[int] = set()
    for part in re.split(r"[,;\s]+", text.strip().lower()):
        if not part:
            continue
        if part == "all":
            rows.update(range(count))
        elif part in GROUPS:
            third = GROUPS.index(part)
            rows.update(range(third * count // 3, (third + 1) * count // 3))
        elif match := re.fullmatch(r"(\d+)(?:-(\d+))?", part):
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first or last >= count:
                raise InputError(f"Rows '{part}' do not exist; this generator has rows 0 to {count - 1}.")
            rows.update(range(first, last + 1))
        else:
            raise InputError(f"'{part}' names no rows; expected all, coarse, middle, fine, or numbers such as 0-5.")
    if not rows:
        raise InputError("No rows are named; expected all, coarse, middle, fine, or numbers such as 0-5.")
    return tuple(sorted(rows))
