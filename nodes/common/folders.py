"""Folders of pictures below ComfyUI's input, chosen from a list and never typed."""

from __future__ import annotations

from pathlib import Path

from ...host import current
from ...models.errors import InputError

ROOT = "(input folder)"
BACKGROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "black": (0, 0, 0)}


def input_folders() -> list[str]:
    """The entries of a list of folders."""
    return [ROOT, *current().input_subfolders()]


def input_folder(name: str) -> Path:
    """The folder that an entry of `input_folders` stands for.

    Raises:
        InputError: no such entry; the sentence lists what there is.
    """
    root = current().input_directory()
    if name == ROOT:
        return root
    known = current().input_subfolders()
    if name not in known:
        listed = ", ".join(known[:8]) or "none yet"
        raise InputError(f"There is no folder '{name}' below the input folder. Available: {listed}.")
    return root / name


def background_colour(name: str) -> tuple[int, int, int]:
    """A colour by its name. Raises InputError for another name."""
    if name not in BACKGROUNDS:
        raise InputError(f"Unknown background '{name}'; expected one of {', '.join(BACKGROUNDS)}.")
    return BACKGROUNDS[name]
