"""Partial files: what is being written, under a name that nothing else has, until it is whole.

The writer holds the system's lock on its file (flock), which ends with its process, a kill included. What carries such
a name and is not locked was left behind, and is removed when the folder is next written to; files of other names are
nobody's business.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_partial_name", "partial_file", "remove_partial_files"]

_OWN_NAME = re.compile(r"\.semantic_edit-[0-9a-f]{16}\.partial")
_ABANDONED_SECONDS = 24 * 3600  # where there are no locks: nothing is written for so long
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_swept: set[str] = set()  # folders that this process has looked into

try:
    import fcntl
except ImportError:  # Windows, which neither renames nor removes a file that is open
    fcntl = None


def is_partial_name(name: str) -> bool:
    """Return whether a file of this name is one that is being written, or was."""
    return _OWN_NAME.fullmatch(name) is not None


@contextlib.contextmanager
def partial_file(folder: Path) -> Iterator[Path]:
    """Make an empty file in a folder, readable as the user's umask says; it is removed unless it was renamed.

    Raises:
        OSError: the folder is gone, or refuses.
    """
    key = os.path.abspath(folder)
    if key not in _swept:
        _swept.add(key)
        remove_partial_files(folder)
    path, handle = _create(folder)
    try:
        yield path
    finally:
        if path.exists():
            with contextlib.suppress(OSError):
                path.unlink()
        if handle is not None:
            os.close(handle)


def remove_partial_files(folder: Path, all_of_them: bool = False) -> None:
    """Remove what killed processes were writing in a folder; one that does not exist has nothing.

    Args:
        all_of_them: nobody else writes there now, which the caller knows; else only what no process holds.
    """
    try:
        with os.scandir(folder) as entries:
            paths = [e.path for e in entries if is_partial_name(e.name) and e.is_file(follow_symlinks=False)]
    except OSError:
        return
    for path in paths:
        with contextlib.suppress(OSError):
            if all_of_them:
                os.unlink(path)
            else:
                _remove_abandoned(path)


def _create(folder: Path) -> tuple[Path, int | None]:
    """Create a file of a new name and lock it; the handle holds the lock, None on systems without."""
    while True:
        path = folder / f".semantic_edit-{secrets.token_hex(8)}.partial"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            os.close(handle)
            return path, None
        if _lock(handle) is not False and path.exists():  # else it was swept between the two steps
            return path, handle
        os.close(handle)


def _remove_abandoned(path: str) -> None:
    """Remove a partial file unless its writer lives."""
    if fcntl is None:
        held = None
    else:
        handle = os.open(path, os.O_RDONLY | _PLAIN)
        held = _lock(handle)
    try:
        if held or (held is None and time.time() - os.stat(path).st_mtime > _ABANDONED_SECONDS):
            os.unlink(path)
    finally:
        if fcntl is not None:
            os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file: True when it is locked now, False when another process has it, None where no locks are."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
