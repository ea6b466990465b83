"""Container formats: a file is told by its first bytes and opened as plain data, whatever its name says."""

from __future__ import annotations

import io
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .archives import open_archive
from .numpy_files import read_npy, read_npz
from .stored import Bytes
from .torch_files import LEGACY_MAGIC, read_legacy, read_nested, read_torch_archive
from .unpickling.unpickler import Budget, Unpickler


@dataclass(frozen=True, eq=False)
class OpenedFile:
    """Content of a file as plain data, and the kind of file it was."""

    content: Any
    kind: str  # "torch archive", "old torch file", "pickle", "npy", "npz"


def open_file(path: Path) -> OpenedFile:
    """Read any of the known formats without running anything.

    Raises:
        CheckpointError: for anything else; the sentence lacks the file's name, which the caller puts in front.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, io.SEEK_END) == 0:
                raise CheckpointError("is empty (0 bytes); the download or the copy failed")
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as problem:
        raise CheckpointError(f"cannot be read: {problem.strerror or problem}") from None
    return open_bytes(data)


def open_bytes(data: Bytes) -> OpenedFile:
    """Read a file that is already in memory, as `open_file` does."""
    start = bytes(data[:512])
    _refuse_foreign_formats(start)
    if start.startswith(b"\x93NUMPY"):
        return OpenedFile(read_npy(data), "npy")
    if start.startswith(b"PK\x03\x04") or start.startswith(b"PK\x05\x06"):
        return _open_zip(data)
    budget = Budget.of_file(len(data))
    first = Unpickler(data, nested=read_nested, budget=budget)
    content = first.load()
    if content == LEGACY_MAGIC:
        return OpenedFile(read_legacy(data, first.position, read_nested, budget), "old torch file")
    return OpenedFile(content, "pickle")


def _refuse_foreign_formats(start: bytes) -> None:
    text = start.lstrip()[:64].lower()
    sentences = {
        b"<": "is a web page, not a checkpoint; the download failed or needs a login",
        b"version https://git-lfs": "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`",
        b"\x89hdf": "is an HDF5 file; only torch, NVlabs, TensorFlow-pickle and numpy files are read",
        b"\x1f\x8b": "is gzip-compressed; unpack it first",
    }
    for magic, sentence in sentences.items():
        if text.startswith(magic):
            raise CheckpointError(sentence)
    if start[257:262] == b"ustar":
        raise CheckpointError("is a tar archive (or was saved by torch before 0.2), which is not read")
    if len(start) > 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 27:
        raise CheckpointError("is a safetensors file already; load it as it is")


def _open_zip(data: Bytes) -> OpenedFile:
    archive = open_archive(data)
    if archive.members and all(name.endswith(".npy") for name in archive.members):
        return OpenedFile(read_npz(archive), "npz")
    return OpenedFile(read_torch_archive(archive, read_nested, Budget.of_file(len(data))), "torch archive")
