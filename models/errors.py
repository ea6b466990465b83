"""Input errors: their text is written for the person who wired the graph or typed the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path


class InputError(ValueError):
    """A wrong input: one sentence that says what was expected, what came, and what to do."""


class CheckpointError(InputError):
    """A file that cannot be read as the checkpoint it is meant to be."""


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is not in a fixed list.

    Args:
        name: what was chosen, as the sentence calls it: "mode".

    Raises:
        InputError: the sentence lists the choices.
    """
    choices = tuple(choices)
    if value not in choices:
        raise InputError(f"Unknown {name} {value!r}; expected one of {', '.join(choices)}.")


@contextlib.contextmanager
def about_file(path: str | Path) -> Iterator[None]:
    """Let errors about values that were read from a file name the file; who reads three files needs to know which."""
    try:
        yield
    except CheckpointError:
        raise
    except InputError as error:
        raise CheckpointError(f"{Path(path).name}: {error}") from None
