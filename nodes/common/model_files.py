"""Files of the pack's model folders: chosen from a list, and their state for ComfyUI's cache."""

from __future__ import annotations

from pathlib import Path

from ... import host
from ...host import io
from ...models.errors import InputError

_NOTHING = "nothing here yet"


def file_input(kind: str, id: str, tooltip: str) -> io.Combo.Input:
    """Return a list of the files of a kind; while there are none, its one entry says where they belong."""
    return io.Combo.Input(id, options=host.current().list_models(kind) or [no_file(kind)], tooltip=tooltip)


def no_file(kind: str) -> str:
    """Return the list entry that stands for an empty folder."""
    return f"({_NOTHING}: add files to models/semantic_edit/{kind})"


def chosen_file(kind: str, name: str) -> Path:
    """Return the file that was chosen from `file_input`.

    Raises:
        InputError: the entry of an empty list, or a name that is not in the list.
    """
    if name.startswith(f"({_NOTHING}"):
        folder = host.current().model_folders(kind)[0]
        raise InputError(
            f"There are no {kind.replace('_', ' ')} yet. Put {host.MODEL_SUFFIX} files into {folder}, then refresh and "
            "choose one. Files in other formats are made usable by the command `semantic-edit convert`."
        )
    return host.current().model_path(kind, name)


def file_state(path: Path) -> str:
    """Return a value that changes when the file is replaced, "" while it is not there: for `fingerprint_inputs`."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return f"{path} {state.st_mtime_ns} {state.st_size}"


def chosen_file_state(kind: str, name: str | None) -> str:
    """Return `file_state` of a file chosen from `file_input`, "" when it is not to be found or comes by wire (None)."""
    try:
        return file_state(chosen_file(kind, name)) if name else ""
    except InputError:
        return ""
