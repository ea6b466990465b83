"""Storage errors of a job in words, and its own files: opened as they are, never through a link to another's."""

from __future__ import annotations

import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path

from ..models.errors import InputError
from ..models.files import storage

__all__ = ["open_own_file", "refuse_link", "storage_problems"]

_FLAGS = os.O_RDWR | os.O_CREAT
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # each where the system has it
    _FLAGS |= getattr(os, _name, 0)


def storage_problems(folder: Path) -> AbstractContextManager[None]:
    """Turn the system's errors about a job's folder into a sentence.

    Raises:
        StorageError: for any OSError inside.
    """
    return storage.storage_problems(
        f"The output folder {folder}", "start the same job again: it goes on where it stopped"
    )


def open_own_file(path: Path, flags: int = 0) -> int:
    """Open a file of the job for reading and writing, made where it is missing.

    Args:
        flags: further ones of os.open.

    Raises:
        InputError: what stands there is a link to a file elsewhere, or no file.
        OSError: the folder refuses.
    """
    refuse_link(path)  # a system without O_NOFOLLOW has only this
    handle = os.open(path, _FLAGS | flags, 0o666)
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(handle)
        raise _foreign(path)
    return handle


def refuse_link(path: Path) -> None:
    """Refuse a link where a file or folder of the job belongs; a name that is free passes.

    Raises:
        InputError: it is a link.
    """
    is_junction = getattr(os.path, "isjunction", os.path.islink)  # Windows' links to folders, since Python 3.12
    if path.is_symlink() or is_junction(path):
        raise _foreign(path)


def _foreign(path: Path) -> InputError:
    return InputError(
        f"{path} is a link, or no plain file, and the job would write to what it leads to. Remove it, or choose "
        "another output folder."
    )
