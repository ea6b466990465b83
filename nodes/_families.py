"""Values of different generators must not be mixed, wherever they meet."""

from __future__ import annotations

from ..models.errors import InputError


def check_families(first: str, second: str, what_first: str, what_second: str) -> None:
    """Raise InputError, naming both, unless the families agree; '' (unknown) fits every family."""
    if first and second and first != second:
        raise InputError(
            f"{what_first} belongs to the generator family '{first}', {what_second[0].lower()}{what_second[1:]} to "
            f"'{second}'. Codes and directions only work within one family."
        )
