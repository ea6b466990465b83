"""A store in a folder of this machine, or one that it has mounted."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from ...models.files.atomic import atomic_write
from ...models.files.partial import remove_partial_files
from ..listing import source_state
from ..lock import FolderLock
from ..storage import refuse_link, storage_problems
from .store import Entry

__all__ = ["LocalStore"]


class LocalStore:
    """A folder; see `Store`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder.resolve())

    def entries(self, folder: str = "") -> list[Entry]:
        """List the files of the folder, or of a subfolder."""
        directory = self.folder / folder
        with storage_problems(directory):
            try:
                with os.scandir(directory) as files:
                    return [Entry(file.name, *source_state(Path(file.path))) for file in files if file.is_file()]
            except FileNotFoundError:
                return []

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return (self.folder / name).is_file()

    def exists(self) -> bool:
        """Tell whether the folder exists."""
        return self.folder.is_dir()

    def make(self, folder: str = "") -> None:
        """Make the folder, or a subfolder."""
        if folder:
            refuse_link(self.folder / folder)
        with storage_problems(self.folder):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)

    def lock(self) -> AbstractContextManager[object]:
        """Hold the folder against other processes."""
        return FolderLock(self.folder)

    def sweep(self, folders: Iterable[str]) -> None:
        """Remove partial files."""
        for folder in folders:
            remove_partial_files(self.folder / folder, all_of_them=True)

    @contextlib.contextmanager
    def fetch(self, name: str) -> Iterator[Path]:
        """Give the file's own path."""
        yield self.folder / name

    def read(self, name: str) -> bytes:
        """Read a file."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            with storage_problems(self.folder):
                raise error

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file under a temporary name beside its place, and rename it."""
        with storage_problems(self.folder), atomic_write(self.folder / name) as temporary:
            if isinstance(content, Path):
                shutil.copyfile(content, temporary)
            else:
                temporary.write_bytes(content)

    def remove_folder(self, folder: str) -> None:
        """Remove a subfolder, if it is empty."""
        with contextlib.suppress(OSError):
            (self.folder / folder).rmdir()

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        with storage_problems(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
