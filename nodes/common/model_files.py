"""Files of the pack's model folders: chosen from a list, and their fingerprints for ComfyUI's cache."""

from __future__ import annotations

from pathlib import Path

from ... import host
from ...host import io
from ...models.errors import InputError

_NOTHING = "nothing here yet"


def file_input(kind: str, id: str, tooltip: str) -> io.Combo.Input:
    """Return a list of the files of a kind; while there are none, its one entry says where they belong."""
    return io.Combo.Input(id, options=host.current().list_models(kind) or [empty_folder_entry(kind)], tooltip=tooltip)


def empty_folder_entry(kind: str) -> str:
    """Return the list entry that stands for an empty folder."""
    return f"({_NOTHING}: add files to models/semantic_edit/{kind})"


def model_file(kind: str, name: str) -> Path:
    """Return the path of an entry of `file_input`.

    Raises:
        InputError: the entry of an empty list, or a name that is not in the list.
    """
    if name.startswith(f"({_NOTHING}"):
        folder = host.current().model_folders(kind)[0]
        raise InputError(
            f"There are no {kind.replace('_', ' ')} yet. Put {host.MODEL_SUFFIX} files into {folder}, then refresh and "
            "choose one. Files in other formats are made usable by the node Convert Checkpoint."
        )
    return host.current().model_path(kind, name)


def listed_name(kind: str, path: Path) -> str:
    """Return the name under which lists show a file that was saved below output/semantic_edit/<kind>."""
    return path.relative_to(host.current().output_directory() / "semantic_edit" / kind).as_posix()


def file_fingerprint(path: Path) -> str:
    """Return a value that changes when the file is replaced, "" while it does not exist: for `fingerprint_inputs`."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{path} {status.st_mtime_ns} {status.st_size}"


def model_file_fingerprint(kind: str, name: str | None) -> str:
    """Return `file_fingerprint` of an entry of `file_input`, "" for one that does not exist or comes by wire (None)."""
    try:
        return file_fingerprint(model_file(kind, name)) if name else ""
    except InputError:
        return ""
