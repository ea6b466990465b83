"""WebDataset shards: tar files of many small files, read from their beginning to their end, and written whole.

A file of a shard is named as SHARD#MEMBER in manifests, its folders joined by # too. In the format's sense a sample's
key is a file's name up to the first dot, so names that are written have no other dot.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..models.errors import InputError
from ..models.files.picture_formats import is_picture_name

__all__ = ["SHARD_SUFFIX", "Member", "ShardError", "ShardWriter", "member_name", "name_in", "read_shard", "shard_of"]

SHARD_SUFFIX = ".tar"
_SEPARATOR = "#"
_LARGEST_MEMBER = 2**30  # bytes


class ShardError(InputError):
    """A shard that is cut short or damaged; the text is the reason alone."""


class Member(NamedTuple):
    """A picture of a shard; its contents are None where it is too large."""

    name: str
    content: bytes | None


def shard_of(name: str) -> tuple[str, str]:
    """Take a name of a manifest apart: its shard, and the file in it; ("", name) of a single file."""
    shard, separator, member = name.partition(_SEPARATOR)
    return (shard, member) if separator and shard.lower().endswith(SHARD_SUFFIX) else ("", name)


def member_name(name: str) -> str:
    """Return the part of a name that stands for the file in a shard."""
    return shard_of(name)[1]


def name_in(shard: str, path: str) -> str:
    """Name a file of a shard as manifests do."""
    return _SEPARATOR.join((shard, *(name for name in PurePosixPath(path).parts if name not in ("/", "//", ".."))))


def read_shard(path: Path) -> Iterator[Member]:
    """Yield the pictures of a shard, in its order; other files are left out.

    Raises:
        ShardError: it is no tar, or ends before its end; what came before was yielded.
        OSError: the disk fails.
    """
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|") as shard:
            for member in shard:
                if not member.isfile() or not is_picture_name(PurePosixPath(member.name).name):
                    continue
                content = shard.extractfile(member).read() if member.size <= _LARGEST_MEMBER else None
                if content is not None and len(content) != member.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield Member(member.name, content)
    except (tarfile.TarError, EOFError) as error:
        raise ShardError(f"it is cut short or no tar file ({error})") from None


class ShardWriter:
    """Writes results and their records into a tar file of this machine; equal contents make equal files."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)
        self._keys: set[str] = set()

    def add(self, result: str, png: bytes, fields: dict[str, object]) -> str:
        """Add one sample and return the name that its picture got."""
        stem = result.removesuffix(".png").replace(".", "_")
        number, key = 2, stem
        while key.casefold() in self._keys:
            number, key = number + 1, f"{stem}-{number}"
        self._keys.add(key.casefold())
        self._add(f"{key}.png", png)
        self._add(f"{key}.json", json.dumps(fields, sort_keys=True).encode())
        return f"{key}.png"

    def close(self) -> None:
        """Finish the file."""
        self._tar.close()

    def _add(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), 0o644
        self._tar.addfile(member, io.BytesIO(content))
