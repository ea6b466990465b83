"""Listing: the pictures of a job, and the names of their results."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from ..models.files.picture_formats import split_names

__all__ = ["folder_names", "name_results", "picture_names", "result_stem", "source_state"]

_LONGEST = 200  # bytes of a name's stem; file systems allow 255 for all of it


def picture_names(folder: Path) -> list[str]:
    """List the picture files of a folder, not of its subfolders, in natural order: 2.png before 10.png.

    Raises:
        OSError: the folder cannot be read.
    """
    return folder_names(folder)[0]


def folder_names(folder: Path) -> tuple[list[str], list[str]]:
    """List the picture files of a folder as :func:`picture_names` does, and its other files.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return split_names(entry.name for entry in entries if entry.is_file())


def source_state(file: Path) -> tuple[int, int]:
    """Return the size in bytes and the time of change (ns) of a file; (0, 0) when it is gone."""
    try:
        state = file.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns


def name_results(names: Iterable[str], existing: dict[str, str]) -> Iterator[str]:
    """Name the result of each picture: its own stem, with ".png".

    Where two pictures share a stem, the later one keeps its ending too ("a.jpg" -> "a.jpg.png"), and then a number;
    names that differ in capitals alone count as equal, as some systems hold them to be.

    Args:
        names: all pictures of the folder, in order.
        existing: results that exist already, by picture; they keep their names.
    """
    taken = {result.casefold() for result in existing.values()}
    for name in names:
        if name in existing:
            yield existing[name]
            continue
        candidates = (f"{result_stem(stem)}.png" for stem in _candidate_stems(name))
        result = next(candidate for candidate in candidates if candidate.casefold() not in taken)
        taken.add(result.casefold())
        yield result


def result_stem(stem: str) -> str:
    """Cut a stem that is too long, with a digest of all of it, so that two do not meet."""
    encoded = os.fsencode(stem)
    if len(encoded) <= _LONGEST:
        return stem
    start = encoded[: _LONGEST - 9].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(encoded).hexdigest()[:8]}"


def _candidate_stems(name: str) -> Iterator[str]:
    yield PurePath(name).stem
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1
