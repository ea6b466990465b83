"""Storage errors in words, and the leftovers of writes that a kill cut short."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..models.errors import InputError
from ..models.files.atomic import PARTIAL

__all__ = ["StorageError", "remove_partial_files", "storage_problems"]

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


class StorageError(InputError):
    """The disk refuses: it is full, read-only, gone or failing."""


@contextlib.contextmanager
def storage_problems(folder: Path) -> Iterator[None]:
    """Turn the system's errors about ``folder`` into a sentence.

    Raises:
        StorageError: for any OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(_sentence(error, folder)) from None


def remove_partial_files(folder: Path) -> None:
    """Remove the files that a killed process was writing; a folder that does not exist has none."""
    if folder.is_dir():
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and entry.name.endswith(PARTIAL):
                os.unlink(entry.path)


def _sentence(error: OSError, folder: Path) -> str:
    if error.errno in _FULL:
        problem = "is full (or a quota is reached). Make room"
    elif error.errno in _CLOSED:
        problem = "cannot be written: it is read-only, belongs to someone else, or a file in it is open. Change that"
    else:
        reason = error.strerror or type(error).__name__
        problem = f"cannot be used ({reason}). Look after the disk"
    return f"The output folder {folder} {problem} and start the same job again: it goes on where it stopped."
