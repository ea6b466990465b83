"""Folder lock: one process at a time in a folder.

The lock is the system's own, tied to an open file: whatever ends the process, a crash or a kill included, ends the
lock. A file left behind therefore means nothing, and there is never one to delete by hand.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from ..models.errors import InputError
from ..models.printable import printable_logger
from .storage import open_own_file

__all__ = ["LOCK_NAME", "FolderLock"]

log = printable_logger(__name__)
LOCK_NAME = ".semantic_edit.lock"
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}

try:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

except ImportError:  # Windows
    import msvcrt

    def _take(handle: int) -> None:
        os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the text, which stays readable for others
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)


class FolderLock:
    """``with FolderLock(folder):`` holds the folder, which has to exist.

    Raises:
        InputError: another process holds it; the sentence names that process. Or its lock file is a link.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handle: int | None = None

    def __enter__(self) -> FolderLock:
        self._handle = open_own_file(self.folder / LOCK_NAME)
        try:
            self._hold(self._handle)
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, f"{os.getpid()}\n".encode())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused: object) -> None:
        if self._handle is not None:
            os.close(self._handle)  # gives the lock back
            self._handle = None

    def _hold(self, handle: int) -> None:
        """Take the lock, or say who has it; go on without where the file system knows no locks."""
        try:
            _take(handle)
        except OSError as error:
            if error.errno not in _HELD:  # some network folders know no locks
                log.warning("The folder %s cannot be locked (%s): do not start a second job on it.",
                            self.folder, error.strerror)  # fmt: skip
                return
            holder = ""
            with contextlib.suppress(OSError):
                holder = os.pread(handle, 20, 0).decode(errors="replace").strip() if hasattr(os, "pread") else ""
            raise InputError(
                f"Another process{f' ({holder})' if holder.isdecimal() else ''} is working in the folder "
                f"{self.folder}. Wait until it is done, stop it, or choose another output folder."
            ) from None
