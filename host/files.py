"""File names that people type, and the model files below a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..models.errors import InputError

__all__ = ["MODEL_SUFFIX", "model_files_below", "safe_name"]

MODEL_SUFFIX = ".safetensors"
_LONGEST_NAME = 160  # bytes; file systems take 255 of a name, and counters and endings are added
_FORBIDDEN = '<>:"|?*'  # what some file system refuses in a name


def safe_name(name: str) -> str:
    """Return a typed file name in "a/b" form, refusing one that could leave its folder.

    Raises:
        InputError: when it is empty, absolute, too long, with a drive, with "..", or with characters that some system
            refuses.
    """
    path = PurePosixPath(str(name).strip().replace("\\", "/"))
    text = str(path)
    if len(text.encode()) > _LONGEST_NAME:
        raise InputError(f"The file name {text[:40]!r}... is {len(text)} letters long; give a shorter one.")
    leaves = path.is_absolute() or not path.name or any(step.startswith((".", "~")) for step in path.parts)
    if leaves or any(character in _FORBIDDEN or ord(character) < 32 for character in text):
        raise InputError(
            f"The file name {name!r} cannot be used: give a plain name such as 'smile' or 'set1/smile', "
            "without '..', drive or leading dot."
        )
    return text


def model_files_below(folder: Path) -> Iterator[str]:
    """Yield the names of the model files below a folder, relative to it; hidden files and folders are left out."""
    if folder.is_dir():
        for file in folder.rglob(f"*{MODEL_SUFFIX}"):
            name = file.relative_to(folder)
            if file.is_file() and not any(step.startswith(".") for step in name.parts):
                yield str(name)
