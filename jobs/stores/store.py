"""The interface of a store: files by name, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

__all__ = ["Entry", "Store"]


class Entry(NamedTuple):
    """A file of a store: its name, its bytes, and a number that is another one when its contents are."""

    name: str
    size: int
    version: int


class Store(Protocol):
    """A folder somewhere. Names may lead into its subfolders ("codes/1.safetensors").

    Whatever the system or a service refuses is raised as an InputError with a sentence; a file that is not there as
    FileNotFoundError.
    """

    address: str

    def entries(self, folder: str = "") -> list[Entry]:
        """List the files that are directly in the store, or in one of its folders; none where it does not exist."""

    def has(self, name: str) -> bool:
        """Tell whether there is such a file; where there are millions, this is quicker than a list."""

    def exists(self) -> bool:
        """Tell whether there is such a folder."""

    def make(self, folder: str = "") -> None:
        """Make the folder, where the store has such things."""

    def lock(self) -> AbstractContextManager[object]:
        """Hold the folder against other processes, where the store knows locks."""

    def sweep(self, folders: Iterable[str]) -> None:
        """Remove what killed processes were writing there; call it with the lock held."""

    def fetch(self, name: str) -> AbstractContextManager[Path]:
        """Give a path on this machine under which the file can be read."""

    def read(self, name: str) -> bytes:
        """Read a file."""

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file, from bytes or from a file of this machine; it replaces one of the same name."""

    def remove_folder(self, folder: str) -> None:
        """Remove a subfolder that is empty, where a store keeps such things."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no problem."""
