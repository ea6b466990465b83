"""Preview of a job: a few pictures before and after, read back from the disk; and a free folder for its results."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..editing.common.figures import contact_sheet
from ..models.errors import InputError
from ..models.files.picture_reader import PictureError, read_picture
from .folder import FolderJob
from .manifest import DONE, read_records
from .settings import check_settings, read_settings

__all__ = ["job_sheet", "free_output_folder"]

_COLUMNS = 8


def job_sheet(job: FolderJob, max_pictures: int = _COLUMNS) -> Tensor:
    """Lay out pictures of the input folder above their results, [H, W, 3] in 0..1.

    They are spread evenly over what is finished; a white picture while nothing is.
    """
    results = {record.file: record.result for record in read_records(job.output) if record.status == DONE}
    names = list(results)
    count = min(max_pictures, len(names))
    shown = [names[k * len(names) // count] for k in range(count)]
    before, after = [], []
    size = job.transfer.generator.resolution
    for name in shown:
        try:
            pair = [
                read_picture(file, size, job.fit, job.background)[0]
                for file in (job.source / name, job.output / results[name])
            ]
        except PictureError:  # removed since
            continue
        before.append(pair[0])
        after.append(pair[1])
    if not before:
        return torch.ones(*size, 3)
    rows, labels = [], []
    for first in range(0, len(before), _COLUMNS):
        rows += [before[first : first + _COLUMNS], after[first : first + _COLUMNS]]
        labels += ["before", "after"]
    return contact_sheet(rows, labels)


def free_output_folder(folder: Path, settings: dict[str, object]) -> Path:
    """Return the first of ``folder``, ``folder_2``, ... that is free, or holds a job of exactly these settings.

    Raises:
        InputError: a job file on the way is damaged.
    """
    number, candidate = 1, folder
    while not _is_free(candidate, settings):
        number += 1
        candidate = folder.with_name(f"{folder.name}_{number}")
    return candidate


def _is_free(folder: Path, settings: dict[str, object]) -> bool:
    """Tell whether a job of these settings may begin or go on in a folder."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    stored = read_settings(folder)
    if stored is None:
        return not any(not entry.name.startswith(".") for entry in folder.iterdir())
    try:
        check_settings(folder, stored, settings)
    except InputError:
        return False
    return True
