"""Names that travel with codes."""

from __future__ import annotations

from ...models.errors import InputError


def picture_names(text: str | None, count: int) -> tuple[str, ...]:
    """Lines of names for ``count`` pictures; without any, "picture 1", "picture 2", ...

    Raises InputError when the number of names is another one.
    """
    names = tuple(line.strip() for line in (text or "").splitlines() if line.strip())
    if not names:
        return tuple(f"picture {k + 1}" for k in range(count))
    if len(names) != count:
        raise InputError(f"There are {len(names)} names for {count} pictures; connect the names of the same batch.")
    return names
