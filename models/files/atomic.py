"""Atomic writes: files appear whole under their name, or not at all; new ones never in another file's place."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from .partial import partial_file
from .storage import TakenError, storage_problems

__all__ = ["atomic_write", "write_new", "write_new_bytes"]

_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}
_NUMBER = re.compile(r"_(\d+)_(?=\.[^.]*$)")


@contextlib.contextmanager
def atomic_write(path: str | Path, exclusive: bool = False, make_folder: bool = False) -> Iterator[Path]:
    """Give a temporary path in the same folder, and rename it to ``path`` once its writing has ended well.

    When the body raises, whatever it wrote is removed and ``path`` stays as it was.

    Args:
        path: of the file; a link there is replaced, and what it leads to stays.
        exclusive: a file that has the name, also one that gets it meanwhile, is never replaced.
        make_folder: make the folders that are missing; else a folder that is gone is an error.

    Raises:
        StorageError: the folder is gone, the disk is full or refuses.
        TakenError: the name is taken, and ``exclusive``.
    """
    path = Path(path)
    with storage_problems(f"{path.name} was not saved: the folder {path.parent}"):
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        if exclusive and os.path.lexists(path):
            raise _taken(path)
        with partial_file(path.parent) as temporary:
            yield temporary
            (_rename_to_new if exclusive else os.replace)(temporary, path)


def write_new(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file under its numbered name, or under the next number that nobody has taken meanwhile.

    Args:
        path: as a host's ``save_path`` gives it: "smile_00001_.safetensors".
        write: writes the file exclusively, or raises TakenError.

    Returns:
        The path that it got.
    """
    while True:
        try:
            write(path)
            return path
        except TakenError:
            path = path.with_name(_next_name(path.name))


def write_new_bytes(path: Path, content: bytes | memoryview) -> Path:
    """Write bytes as `write_new` does, and return the path that they got."""

    def write(path: Path) -> None:
        with atomic_write(path, exclusive=True) as temporary:
            temporary.write_bytes(content)

    return write_new(path, write)


def _next_name(name: str) -> str:
    match = _NUMBER.search(name)
    if match is None:
        return f"{Path(name).stem}_00002_{Path(name).suffix}"
    return f"{name[: match.start()]}_{int(match[1]) + 1:05}_{name[match.end() :]}"


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Rename a file to a name that has to be free; of two processes, one gets it."""
    try:
        if os.name == "nt":
            os.rename(temporary, path)  # refuses a name that is taken
        else:
            os.link(temporary, path)
        return
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        if os.name == "nt" or error.errno not in _NO_LINKS:
            raise
    try:  # a folder without links, as on a memory stick: the name is taken first, then filled
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        raise _taken(path) from None
    try:
        os.replace(temporary, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _taken(path: Path) -> TakenError:
    return TakenError(f"{path.name} was not saved: there is a file of that name in {path.parent}. Choose another name.")
