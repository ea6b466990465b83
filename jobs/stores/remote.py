"""A store at an address that fsspec knows: s3://, gs://, hf:// and others; each needs its own package.

Object stores show a file once it has arrived whole, so one request writes it. Elsewhere (sftp, hdfs, smb, ...) a file
is written under a temporary name and then moved. A request that fails is repeated, more and more patiently.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ...models.errors import InputError
from ...models.files.storage import StorageError
from .store import Entry

__all__ = ["RemoteStore", "is_remote"]

_Result = TypeVar("_Result")
_WHOLE_OR_NOT = {
    "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "hf", "oss", "oci", "obs", "tos", "memory",
}  # fmt: skip
_DELAYS = (0.1, 0.3, 1.0, 3.0, 10.0)  # seconds, before each repetition
_HOPELESS = (PermissionError, NotADirectoryError, IsADirectoryError, ImportError, ValueError, TypeError)
# Tags of the contents, then times: whatever of these a store tells of a file.
_TAGS = ("ETag", "etag", "blob_id", "md5Hash", "content_md5", "checksum", "LastModified", "last_modified", "updated",
         "mtime", "modify", "created")  # fmt: skip


def is_remote(address: str | Path) -> bool:
    """Tell whether an address is for fsspec: it names a protocol other than file."""
    protocol, separator, _ = str(address).partition("://")
    return bool(separator) and protocol != "file"


class RemoteStore:
    """An address; see `Store`."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._fs, self._root = _open(self.address)
        protocols = self._fs.protocol if isinstance(self._fs.protocol, tuple | list) else (self._fs.protocol,)
        self._one_request = bool(_WHOLE_OR_NOT & set(protocols))

    def entries(self, folder: str = "") -> list[Entry]:
        """List the files directly below the address."""

        def listed() -> list[dict]:
            self._fs.invalidate_cache()
            try:
                return self._fs.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []

        files = [file for file in self._patiently("listed", listed) if file["type"] == "file"]
        named = [(PurePosixPath(file["name"].rstrip("/")).name, file) for file in files]
        return [Entry(name, int(file.get("size") or 0), _version(file)) for name, file in named if name]

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""

        def is_there() -> bool:
            self._fs.invalidate_cache()
            return self._fs.isfile(self._path(name))

        return bool(self._patiently("looked at", is_there))

    def exists(self) -> bool:
        """Tell whether the address is a folder with anything in it."""
        return bool(self._patiently("looked at", lambda: self._fs.isdir(self._root)))

    def make(self, folder: str = "") -> None:
        """Make the folder, where it is not a mere prefix of names."""
        if not self._one_request:
            self._patiently("written", lambda: self._fs.makedirs(self._path(folder), exist_ok=True))

    def lock(self) -> AbstractContextManager[object]:
        """Hold nothing: there are no locks here."""
        return contextlib.nullcontext()

    def sweep(self, folders: Iterable[str]) -> None:
        """Leave them: their names begin with a dot, and without locks nobody knows whose they are."""

    @contextlib.contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        """Give a copy, which is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="semantic_edit-") as folder:
            copy = Path(folder) / f"copy{PurePosixPath(name).suffix}"
            self._patiently("read", lambda: self._fs.get_file(self._path(name), os.fspath(copy)))
            yield copy

    def read(self, name: str) -> bytes:
        """Read a file."""
        return self._patiently("read", lambda: self._fs.cat_file(self._path(name)))

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file: by one request, or under a temporary name that is changed at the end."""
        self._patiently("written", lambda: self._put(self._path(name), content))

    def remove_folder(self, folder: str) -> None:
        """Leave it: an empty one is nothing in most stores."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""

        def removed(paths: list[str]) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm(paths)

        paths = [self._path(name) for name in names]
        for first in range(0, len(paths), 1000):
            self._patiently("changed", lambda first=first: removed(paths[first : first + 1000]))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _put(self, path: str, content: bytes | Path) -> None:
        target = path
        if not self._one_request:
            parent, name = path.rsplit("/", 1)
            target = f"{parent}/.semantic_edit-{secrets.token_hex(8)}.partial-{name}"
        if isinstance(content, Path):
            self._fs.put_file(os.fspath(content), target)
        else:
            self._fs.pipe_file(target, content)
        if target != path:
            self._fs.mv(target, path)

    def _patiently(self, verb: str, request: Callable[[], _Result]) -> _Result:
        """Make a request, and again when it fails.

        Raises:
            FileNotFoundError: what it asks for is not there.
            StorageError: it fails for good.
        """
        for delay in (*_DELAYS, None):
            try:
                return request()
            except (FileNotFoundError, InputError):
                raise
            except Exception as error:
                if delay is None or isinstance(error, _HOPELESS):
                    raise StorageError(
                        f"{self.address} cannot be {verb}: {_reason(error)}. Look after the address, its rights and "
                        "its keys, and start the same job again: it goes on where it stopped."
                    ) from None
                time.sleep(delay * (0.5 + secrets.randbelow(1000) / 1000))


def _open(address: str) -> tuple[object, str]:
    """Return fsspec's file system for an address, and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise InputError(
            f"{address} is an address, and the package that reads addresses is missing. Install it: "
            'pip install "semantic-edit[ray]"'
        ) from None
    try:
        fs, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise InputError(f"{address} needs a package that is not installed: {_reason(error)}") from None
    except Exception as error:
        known = "s3://bucket/folder, gs://bucket/folder, hf://datasets/name, or a folder of this machine"
        raise InputError(
            f"{address} cannot be opened ({_reason(error)}). Expected an address such as {known}."
        ) from None
    return fs, root.rstrip("/")


def _version(file: dict) -> int:
    """Return a number for the state of a file, of at most 60 bits."""
    tag = next((file[key] for key in _TAGS if file.get(key)), "")
    text = tag.isoformat() if isinstance(tag, datetime) else str(tag)
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16) if text else 0


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 300 else f"{text[:300]} ..."
