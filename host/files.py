"""File names that people type, and what lies below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..models.errors import InputError
from ..models.printable import printable

__all__ = ["MODEL_SUFFIX", "file_below", "files_below", "folders_below", "is_text", "model_files_below", "safe_name"]

MODEL_SUFFIX = ".safetensors"
_LONGEST_NAME = 160  # bytes; file systems take 255 of a name, and counters and endings are added
_FORBIDDEN = '<>:"|?*'  # what some file system refuses in a name
_MOST_FOLDERS = 100_000  # that are listed where links are followed: those can name one folder in endless ways


def safe_name(name: str) -> str:
    """Return a typed file name in "a/b" form, refusing one that could leave its folder.

    Raises:
        InputError: when it is empty, absolute, too long, with a drive, with "..", or with characters that some system
            refuses.
    """
    if not is_text(str(name)):
        raise InputError(f"The file name {str(name)[:40]!r} holds half a character, which no file can be called.")
    path = PurePosixPath(str(name).strip().replace("\\", "/"))
    text = str(path)
    if len(text.encode()) > _LONGEST_NAME:
        raise InputError(f"The file name {text[:40]!r}... is {len(text)} letters long; give a shorter one.")
    leaves = path.is_absolute() or not path.name or any(step.startswith((".", "~")) for step in path.parts)
    if leaves or any(letter in _FORBIDDEN or printable(letter) != letter for letter in text):
        raise InputError(
            f"The file name {name!r} cannot be used: give a plain name such as 'smile' or 'set1/smile', "
            "without '..', drive or leading dot."
        )
    return text


def is_text(text: str) -> bool:
    """Return False for text with half of a surrogate pair, which JSON can hold and no file or terminal takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def file_below(folder: Path, name: str) -> Path | None:
    """Return the file of this name below a folder; None where there is none, or where the name leads out of it.

    Args:
        folder: where to look.
        name: "photo.png" or "a/photo.png", or with the separators of Windows where no file has them in its name.
    """
    folder = folder.resolve()
    for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
        try:
            path = (folder / spelling).resolve()
            if folder in path.parents and path.is_file():
                return path
        except (OSError, ValueError):  # longer than the system takes, or with NUL or half a character
            continue
    return None


def folders_below(root: Path, follow_links: bool = False) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield (name, subfolders, files) of a folder and all below it.

    Without recursion, since trees may be deeper than Python's stack.

    Args:
        root: its own name is ""; those below are "a/b". What cannot be read is passed over.
        follow_links: whether to look into linked folders; one that lies within itself is not entered again.

    The subfolders are a list of the caller's: what is taken out is not entered.
    """
    stack: list[tuple[str, tuple]] = [("", ())]
    count = 0
    while stack:
        name, around = stack.pop()
        try:
            identity = os.stat(root / name)
            with os.scandir(root / name) as scan:
                entries = list(scan)
        except (OSError, ValueError):
            continue
        folders = [entry.name for entry in entries if _is(entry, "dir")]
        yield name, folders, [entry.name for entry in entries if _is(entry, "file")]
        if follow_links:
            count += 1
            here = (identity.st_dev, identity.st_ino)
            if count >= _MOST_FOLDERS or _within(here, around):
                continue
            around = (here, around)
        linked = set() if follow_links else {entry.name for entry in entries if entry.is_symlink()}
        path = f"{name}/" if name else ""
        stack += [(f"{path}{folder}", around) for folder in reversed(folders) if folder not in linked]


def _is(entry: os.DirEntry, kind: str) -> bool:
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError:  # a link into nowhere, or round in a circle
        return False


def _within(here: tuple[int, int], around: tuple) -> bool:
    """Return True when a folder is one of those around it, innermost first: (folder, those around it)."""
    while around:
        folder, around = around
        if folder == here:
            return True
    return False


def model_files_below(folder: Path) -> Iterator[str]:
    """Yield the names of the model files below a folder, relative to it; hidden files and folders are left out."""
    return files_below(folder, (MODEL_SUFFIX,))


def files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield the files below a folder with one of the suffixes, in any case, as `model_files_below` does."""
    for name, folders, files in folders_below(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for file in files:
            if file.lower().endswith(suffixes) and not file.startswith("."):
                yield str(Path(name, file))
