"""Storage errors in words: a disk that is full, read-only, gone or failing is one sentence, whoever was writing."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from ..errors import InputError

__all__ = ["StorageError", "TakenError", "storage_problems"]

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}


class StorageError(InputError):
    """The disk refuses; `errno` and `strerror` are the system's."""

    def __init__(self, sentence: str, error: OSError | StorageError | None = None) -> None:
        super().__init__(sentence)
        self.errno = None if error is None else error.errno
        self.strerror = None if error is None else error.strerror


class TakenError(InputError):
    """A new file was to get a name that another file has."""


@contextlib.contextmanager
def storage_problems(subject: str, advice: str = "try again") -> Iterator[None]:
    """Turn the system's errors into a sentence.

    Args:
        subject: as the sentence begins: "The output folder /a/b".
        advice: how it ends, once the person has done what the problem asks for.

    Raises:
        StorageError: for any error of the system inside, one that is a sentence already included.
    """
    try:
        yield
    except (OSError, StorageError) as error:
        if error.errno is None and not isinstance(error, StorageError):
            raise  # a library's own, such as a picture that its format cannot hold
        raise StorageError(f"{subject} {_problem(error)} and {advice}.", error) from None


def _problem(error: OSError | StorageError) -> str:
    if error.errno in _FULL:
        return "is full (or a quota is reached). Make room"
    if error.errno in _CLOSED:
        return "cannot be written: it is read-only, belongs to someone else, or a file in it is open. Change that"
    return f"cannot be used ({error.strerror or type(error).__name__}). Look after the disk"
