"""Files of other projects below the pack's model folders, for Convert Checkpoint: chosen from a list, never typed."""

from __future__ import annotations

from pathlib import Path

from ...host import current
from ...host.files import files_below
from ...models.checkpoint import FOREIGN_SUFFIXES
from ...models.errors import InputError

KINDS_WITH_FOREIGN_FILES = ("generators", "encoders", "directions", "latents", "losses", "segmenters")
NOTHING_TO_CONVERT = "(nothing here yet: put a file below models/semantic_edit, then press r)"


def foreign_files() -> list[str]:
    """Return what can be converted, as "kind/name", in the order of kinds and then of names."""
    return [
        f"{kind}/{name}"
        for kind in KINDS_WITH_FOREIGN_FILES
        for name in sorted({name for folder in current().model_folders(kind) for name in _names(folder)})
    ]


def foreign_file(entry: str) -> tuple[str, Path]:
    """Return the kind and the path of an entry of `foreign_files`.

    Raises:
        InputError: no such entry; the sentence lists what there is, or says where files belong.
    """
    listed = foreign_files()
    if not listed:
        folder = current().model_folders("generators")[0]
        raise InputError(
            f"There is nothing to convert yet. Put a checkpoint ({', '.join(FOREIGN_SUFFIXES)}) into {folder}, or into "
            f"{', '.join(KINDS_WITH_FOREIGN_FILES[1:])} beside it, press r and choose it from the list."
        )
    if entry in listed:
        kind, _, name = entry.partition("/")
        for folder in current().model_folders(kind):
            if (folder / name).is_file():
                return kind, folder / name
    shown = ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
    raise InputError(f"There is no file {entry!r} to convert. Available: {shown}.")


def _names(folder: Path) -> list[str]:
    return [name.replace("\\", "/") for name in files_below(folder, FOREIGN_SUFFIXES)]
