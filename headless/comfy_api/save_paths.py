"""Save paths: ComfyUI's numbering of saved files, and folder names that cannot lead out of a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from ... import host
from ...models.errors import InputError

_LONGEST_NAME = 240  # bytes; file systems take 255 of a name, and a number and an ending are added


class Numbered(NamedTuple):
    """The next file of a series: folder / f"{filename}_{counter:05}_.png"."""

    folder: Path
    filename: str
    counter: int
    subfolder: str


def numbered(prefix: str, root: Path, width: int = 0, height: int = 0) -> Numbered:
    """Return the first free number for a file prefix, and make its folder.

    Args:
        prefix: "name" or "folder/name"; %width%, %height%, %year%, %month%, %day%, %hour%, %minute% and %second% are
            filled in.
        root: the folder that the prefix may not leave.
        width, height: of the picture, px.

    Raises:
        InputError: the prefix leads out of `root`, or names what no file or folder can be called.
    """
    if "\0" in prefix or not host.is_text(prefix):
        raise InputError(f"The file name prefix {prefix[:60]!r} holds characters that no file name can have.")
    now = time.localtime()
    values = {"width": width, "height": height, "year": now.tm_year}
    clock = {"month": now.tm_mon, "day": now.tm_mday, "hour": now.tm_hour, "minute": now.tm_min, "second": now.tm_sec}
    for name, value in {**values, **{name: f"{value:02}" for name, value in clock.items()}}.items():
        prefix = prefix.replace(f"%{name}%", str(value))
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = os.listdir(folder)
    except OSError as error:  # its whole path is too long, or a file has the name of a folder
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"The file name prefix {prefix[:200]!r} names a folder that cannot be made ({reason})."
        ) from None
    taken = [number for number in (_number(file, filename) for file in files) if number is not None]
    return Numbered(folder, filename, max(taken, default=0) + 1, subfolder)


def _number(file: str, filename: str) -> int | None:
    """Return the number of a saved file, 0 when it has none, None for a file of another series."""
    if os.path.normcase(file[: len(filename) + 1]) != os.path.normcase(filename + "_"):
        return None
    digits = file[len(filename) + 1 :].split("_")[0]
    return int(digits) if digits.isdecimal() else 0
