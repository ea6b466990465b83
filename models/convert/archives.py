"""Zip archives read in memory: torch's files and numpy's .npz.

Members are looked up by name and never unpacked to the disk, so a member's name cannot point anywhere; names that try
are refused all the same, since no program that saves checkpoints writes them.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass

from ..errors import CheckpointError
from .stored import Bytes

MAX_MEMBERS = 50_000
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError, RuntimeError, KeyError,
    IndexError, OverflowError, struct.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Archive:
    """An open archive and its members by name."""

    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]
    size: int  # of the whole archive


def open_archive(data: Bytes) -> Archive:
    """Open the archive in `data`.

    Raises:
        CheckpointError: when it is damaged or encrypted, or its members' names are odd.
    """
    try:
        file = zipfile.ZipFile(_View(data))
        infos = file.infolist()
    except ZIP_ERRORS as problem:
        raise CheckpointError(f"is a damaged or truncated archive ({str(problem)[:80]})") from None
    if len(infos) > MAX_MEMBERS:
        raise CheckpointError(f"has {len(infos)} archive members, more than any checkpoint needs")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.orig_filename if isinstance(info.orig_filename, str) else info.filename
        folders = re.split(r"[/\\]", name)
        if ".." in folders or name.startswith(("/", "\\")) or ":" in name or "\x00" in name or "\\" in name:
            raise CheckpointError(f"refused, because a member named {name[:60]!r} points outside the archive")
        if name in members:
            raise CheckpointError(f"refused, because the archive member {name[:60]!r} is there twice")
        if info.flag_bits & 0x1:
            raise CheckpointError("is an encrypted archive")
        members[name] = info
    return Archive(file, members, len(data))


class _View(io.RawIOBase):
    """A read-only file over a piece of memory, without copying it."""

    def __init__(self, data: Bytes):
        self._data, self._position = memoryview(data), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise OSError("a position before the file's start")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        begin = min(self._position, len(self._data))
        end = len(self._data) if size is None or size < 0 else min(begin + size, len(self._data))
        self._position = end
        return bytes(self._data[begin:end])
