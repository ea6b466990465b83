"""What a job shows of itself: a few pictures before and after, read back from the disk."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..editing.common.figures import contact_sheet
from ..models.errors import InputError
from ..models.files.pictures import PictureError, read_picture
from .folder import FolderJob
from .manifest import DONE, read_records
from .settings import check_settings, read_settings

__all__ = ["job_sheet", "free_output_folder"]

_COLUMNS = 8


def job_sheet(job: FolderJob, most: int = _COLUMNS) -> Tensor:
    """Pictures of the input folder above what became of them, [H, W, 3] in 0..1: at most ``most``, spread evenly over
    what is finished; a white square while nothing is."""
    results = {record.file: record.result for record in read_records(job.output) if record.status == DONE}
    names = list(results)
    chosen = [names[k * len(names) // min(most, len(names))] for k in range(min(most, len(names)))]
    before, after = [], []
    size = job.transfer.generator.resolution
    for name in chosen:
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


def free_output_folder(wanted: Path, settings: dict[str, object]) -> Path:
    """The first of ``wanted``, ``wanted_2``, ... that is free, or holds a job of exactly these settings.

    Raises:
        InputError: a job file on the way is damaged.
    """
    number, folder = 1, wanted
    while not _fits(folder, settings):
        number += 1
        folder = wanted.with_name(f"{wanted.name}_{number}")
    return folder


def _fits(folder: Path, settings: dict[str, object]) -> bool:
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    before = read_settings(folder)
    if before is None:
        return not any(not entry.name.startswith(".") for entry in folder.iterdir())
    try:
        check_settings(folder, before, settings)
    except InputError:
        return False
    return True
