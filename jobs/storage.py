"""Writing files whole, and saying in words what a disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..models.errors import InputError

__all__ = ["PARTIAL", "StorageError", "storage_problems", "sweep", "write_whole"]

PARTIAL = ".partial"  # the end of names of files that are being written
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


class StorageError(InputError):
    """The disk refuses: it is full, read-only, gone or failing."""


@contextlib.contextmanager
def storage_problems(folder: Path) -> Iterator[None]:
    """Turn what the system says about ``folder`` into a sentence.

    Raises:
        StorageError: for any OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(_sentence(error, folder)) from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole under its name, or not at all. Only one writer per folder at a time."""
    partial = path.with_name(f".writing{PARTIAL}")
    try:
        with open(partial, "wb") as file:
            file.write(content)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def sweep(folder: Path) -> None:
    """Remove what a killed process was writing."""
    if folder.is_dir():
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and entry.name.endswith(PARTIAL):
                os.unlink(entry.path)


def _sentence(error: OSError, folder: Path) -> str:
    if error.errno in _FULL:
        what = "is full (or a quota is reached). Make room"
    elif error.errno in _CLOSED:
        what = "cannot be written: it is read-only, belongs to someone else, or a file in it is open. Change that"
    else:
        reason = error.strerror or type(error).__name__
        what = f"cannot be used ({reason}). Look after the disk"
    return f"The output folder {folder} {what} and start the same job again: it goes on where it stopped."
