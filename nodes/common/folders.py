"""Folders of pictures below ComfyUI's input, chosen from a list and never typed."""

from __future__ import annotations

from pathlib import Path

from ...host import current
from ...models.errors import InputError, check_choice

ROOT = "(input folder)"
BACKGROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "black": (0, 0, 0)}


def input_folders() -> list[str]:
    """Return the entries of a list of folders."""
    return [ROOT, *current().input_subfolders()]


def input_folder(name: str) -> Path:
    """Return the folder that an entry of `input_folders` stands for.

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
    """Return a colour of `BACKGROUNDS` as red, green and blue in 0..255.

    Raises:
        InputError: another name; the sentence lists the colours.
    """
    check_choice("background", name, BACKGROUNDS)
    return BACKGROUNDS[name]
