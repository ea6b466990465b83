"""Files between this machine and a server: which pictures are sent, and where what it gives back may land.

A workflow says what is sent, and a server what comes back; neither is trusted. Only visible pictures of the input
folder leave it. Only pictures and films are written, below the output folder, under numbers of our own, and never in
the place of a file.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ..headless.comfy_api.save_paths import next_of_series
from ..headless.errors import WorkflowError
from ..host import file_below, safe_name
from ..models.errors import InputError
from ..models.files.atomic import write_new_bytes
from ..models.files.picture_formats import is_picture_name

__all__ = ["picture_to_send", "result_prefix", "save_result"]

RESULTS = {".png", ".apng", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff", ".jp2", ".jxl",
           ".mp4", ".webm", ".mkv", ".mov"}  # fmt: skip
_NUMBER = re.compile(r"_\d+_?$")


def picture_to_send(folder: Path, name: str) -> Path | None:
    """Return the picture of the input folder that a workflow names; None when the folder has no such file.

    Raises:
        WorkflowError: it is no picture by its name, hidden, or a link to such a file.
    """
    path = file_below(folder, name)
    if path is None:
        return None
    steps = (*PurePosixPath(name.replace("\\", "/")).parts, *path.relative_to(folder.resolve()).parts)
    hidden = any(step.startswith(".") for step in steps)
    if hidden or not (is_picture_name(path.name) and is_picture_name(PurePosixPath(name).name)):
        raise WorkflowError(
            f"The workflow names {name!r} in the folder {folder}, which is hidden or no picture, and only pictures are "
            "sent to a server. Choose another file, or leave --input out if the server has it."
        )
    return path


def result_prefix(folder: str, name: str) -> tuple[str, str] | None:
    """Return the prefix and the extension under which a server's file is kept; None for what is no picture or film.

    Raises:
        InputError: its name is hidden, leads elsewhere, or cannot be a name here.
    """
    path = PurePosixPath(folder.replace("\\", "/")) / name.replace("\\", "/")
    extension = path.suffix.lower()
    if extension not in RESULTS:
        return None
    return _NUMBER.sub("", safe_name(str(path.with_suffix("")))) or "result", extension


def save_result(content: bytes, prefix: str, extension: str, output: Path) -> Path:
    """Write a result under the next number of its series.

    Raises:
        InputError: a link below the output folder leads out of it, or the disk refuses.
    """
    series = next_of_series(prefix, output)
    if not series.folder.resolve().is_relative_to(output.resolve()):
        raise InputError(f"The folder {series.folder} is a link that leads out of the output folder {output}.")
    return write_new_bytes(series.path(extension), content)
