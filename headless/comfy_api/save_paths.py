"""Save paths: ComfyUI's numbering of saved files, and folder names that cannot lead out of a folder."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import NamedTuple

from ... import host
from ...models.errors import InputError
from ...models.files.storage import storage_problems

BATCH_INDEX = "%batch_num%"  # stands for the picture's place in its batch

_LONGEST_NAME = 240  # bytes; file systems take 255 of a name, and a number and an ending are added


class Numbered(NamedTuple):
    """The next file of a series: folder / f"{filename}_{counter:05}_.png"."""

    folder: Path
    filename: str
    counter: int
    subfolder: str

    def path(self, extension: str, counter: int | None = None, index: int = 0) -> Path:
        """Return the path of a file of the series: of its next one, or of another number."""
        number = self.counter if counter is None else counter
        return self.folder / f"{self.filename.replace(BATCH_INDEX, str(index))}_{number:05}_{extension}"


def numbered(prefix: str, root: Path, width: int = 0, height: int = 0) -> Numbered:
    """Return the first free number for a file prefix, and make its folder.

    Args:
        prefix: "name" or "folder/name"; %width%, %height%, %year%, %month%, %day%, %hour%, %minute% and %second% are
            filled in.
        root: the folder that the prefix may not leave.
        width, height: of the picture, px.

    Raises:
        InputError: the prefix leads out of `root`, or names what no file or folder can be called.
        StorageError: the folder cannot be made or read.
    """
    if "\0" in prefix or not host.is_text(prefix):
        raise InputError(f"The file name prefix {prefix[:60]!r} holds characters that no file name can have.")
    now = time.localtime()
    values = {"width": width, "height": height, "year": now.tm_year}
    clock = {"month": now.tm_mon, "day": now.tm_mday, "hour": now.tm_hour, "minute": now.tm_min, "second": now.tm_sec}
    for name, value in {**values, **{name: f"{value:02}" for name, value in clock.items()}}.items():
        prefix = prefix.replace(f"%{name}%", str(value))
    return next_of_series(prefix, root)


def next_of_series(prefix: str, root: Path) -> Numbered:
    """Return the first free number for a prefix as it stands, and make its folder; raises as `numbered`."""
    subfolder, filename = os.path.split(os.path.normpath(prefix))
    root = Path(os.path.abspath(root))
    folder = Path(os.path.abspath(root / subfolder))
    if folder != root and root not in folder.parents:
        raise InputError(
            f"The file name prefix {prefix[:200]!r} leads out of the output folder {root}: use a name below it."
        )
    longest = max((*folder.relative_to(root).parts, filename), key=lambda name: len(name.encode()))
    if len(longest.encode()) > _LONGEST_NAME:
        raise InputError(
            f"The file name prefix {prefix[:60]!r}... has a name of {len(longest)} letters; give a shorter one."
        )
    with storage_problems(f"The file name prefix {prefix[:200]!r} names a folder that cannot be made: it"):
        folder.mkdir(parents=True, exist_ok=True)
        files = os.listdir(folder)
    stem = re.escape(os.path.normcase(filename)).replace(re.escape(BATCH_INDEX), r"\d+")
    series = re.compile(rf"{stem}_(?:(\d{{1,18}})(?:_|$))?")  # a file without a number counts as 0
    matches = (series.match(os.path.normcase(file)) for file in files)
    return Numbered(folder, filename, max((int(match[1] or 0) for match in matches if match), default=0) + 1, subfolder)


def number_of(file: str) -> int:
    """Return the number of a file that `Numbered.path` named."""
    return int(file.rsplit("_", 2)[1])
