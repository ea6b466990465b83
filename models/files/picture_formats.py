"""Picture formats that are read, and the picture files of a folder by their names."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from PIL import Image

from ..printable import printable

__all__ = [
    "FORMAT_NAMES",
    "describe_passed_over",
    "installed_formats",
    "is_picture_name",
    "list_pictures",
    "natural_key",
    "split_names",
]

# Pillow's names. No other container is ever opened, whatever a file is called: some start programs (EPS), some fetch.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "JPEG2000", "HEIF")
FORMAT_NAMES = "PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF, JPEG 2000 and HEIC"
_HEIF_SUFFIXES = {".heic", ".heif", ".hif", ".heics", ".heifs"}
_NAMES_SHOWN = 8


def installed_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that can be opened here, for ``Image.open(formats=...)``."""
    _load_plugins()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@functools.cache
def _load_plugins() -> None:
    """Load Pillow's own plugins, and that for HEIC where it is installed."""
    Image.init()
    if "HEIF" not in Image.OPEN:
        with contextlib.suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()


def is_picture_name(name: str) -> bool:
    """Return whether a file of this name counts as a picture; hidden files never do."""
    _load_plugins()
    return not name.startswith(".") and Image.EXTENSION.get(PurePath(name).suffix.lower()) in _FORMATS


def list_pictures(folder: Path) -> list[Path]:
    """List the picture files of a folder (not of its subfolders), in natural order: 2.png before 10.png."""
    pictures, _ = split_names(file.name for file in folder.iterdir() if file.is_file())
    return [folder / name for name in pictures]


def split_names(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tell the pictures from other files, each in natural order; hidden files are neither."""
    visible = sorted((name for name in names if not name.startswith(".")), key=lambda name: (natural_key(name), name))
    pictures = [name for name in visible if is_picture_name(name)]
    return pictures, [name for name in visible if not is_picture_name(name)]


def describe_passed_over(names: Sequence[str]) -> str:
    """Name the files that are no pictures by their names, in one sentence; "" for none."""
    if not names:
        return ""
    listed = ", ".join(printable(name) for name in names[:_NAMES_SHOWN])
    others = f" and {len(names) - _NAMES_SHOWN} others" if len(names) > _NAMES_SHOWN else ""
    count = "1 file was" if len(names) == 1 else f"{len(names)} files were"
    advice = ""
    if any(PurePath(name).suffix.lower() in _HEIF_SUFFIXES for name in names):
        advice = " HEIC is read where the package pillow-heif is installed."
    return f"{count} passed over, because the name is not that of a picture that can be read: {listed}{others}.{advice}"


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key that counts: 2.png before 10.png."""
    tokens = re.split(r"(\d+)", name.lower())
    return [(0, int(token), "") if token.isdecimal() else (1, 0, token) for token in tokens if token]
