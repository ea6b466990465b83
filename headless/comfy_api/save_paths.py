"""Save paths: ComfyUI's numbering of saved files, and folder names that cannot lead out of a folder."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from ...models.errors import InputError


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
        InputError: the prefix leads out of `root`.
    """
    now = time.localtime()
    values = {"width": width, "height": height, "year": now.tm_year}
    clock = {"month": now.tm_mon, "day": now.tm_mday, "hour": now.tm_hour, "minute": now.tm_min, "second": now.tm_sec}
    for name, value in {**values, **{name: f"{value:02}" for name, value in clock.items()}}.items():
        prefix = prefix.replace(f"%{name}%", str(value))
    subfolder, filename = os.path.split(os.path.normpath(prefix))
    root = Path(os.path.abspath(root))
    folder = Path(os.path.abspath(root / subfolder))
    if folder != root and root not in folder.parents or "\0" in prefix:
        raise InputError(f"The file name prefix {prefix!r} leads out of the output folder {root}: use a name below it.")
    folder.mkdir(parents=True, exist_ok=True)
    taken = [number for number in (_number(file, filename) for file in os.listdir(folder)) if number is not None]
    return Numbered(folder, filename, max(taken, default=0) + 1, subfolder)


def _number(file: str, filename: str) -> int | None:
    """Return the number of a saved file, 0 when it has none, None for a file of another series."""
    if os.path.normcase(file[: len(filename) + 1]) != os.path.normcase(filename + "_"):
        return None
    digits = file[len(filename) + 1 :].split("_")[0]
    return int(digits) if digits.isdecimal() else 0
