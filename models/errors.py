"""Errors whose text is written for the person who wired the graph or typed the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


class InputError(ValueError):
    """A wrong input: one sentence that says what was expected, what came, and what to do."""


class CheckpointError(InputError):
    """A file that cannot be read as the checkpoint it is meant to be."""


@contextlib.contextmanager
def about_file(path: str | Path) -> Iterator[None]:
    """Let errors about values that were read from a file name the file; who reads three files needs to know which."""
    try:
        yield
    except CheckpointError:
        raise
    except InputError as error:
        raise CheckpointError(f"{Path(path).name}: {error}") from None
