"""The run of a folder job: read, encode, move, draw, write, a few pictures at a time.

Memory holds the names and two chunks, whatever the size of the folder. A picture is finished when its result stands
under its name and its line in the manifest; a kill in between costs that picture's work, and no file. Starting the same
job again skips what is finished, and a file that is no picture is noted and left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..editing.common.progress import Progress, silent
from ..models.errors import InputError, check_choice
from ..models.files.atomic import atomic_write
from ..models.files.latents import write_latent
from ..models.files.partial import remove_partial_files
from ..models.files.picture_formats import FORMAT_NAMES, describe_passed_over
from ..models.files.picture_reader import FITS
from ..models.printable import printable
from .batch_manifest import BatchManifest, has_tables
from .folder import PASSED_OVER, PROBLEMS_SHOWN, FolderJob, JobReport
from .listing import folder_names, name_results, source_state
from .lock import FolderLock
from .manifest import CODES, SKIPPED, Manifest, Record, own_results, read_records
from .photo_edits import FILE_THREADS, EditedPhoto, Photo, PhotoEditor, utc_now
from .settings import check_settings, read_settings, write_settings
from .storage import refuse_link, storage_problems
from .stores.local import LocalStore

__all__ = ["run_job"]


def run_job(job: FolderJob, progress: Progress | None = None) -> JobReport:
    """Do a job, or what is left of it.

    Args:
        progress: counts pictures, with the newest result as its preview, after each picture and within long passes; may
            raise to stop, and whatever is finished stays finished.

    Raises:
        InputError: no pictures; an output folder that holds something else, or a job of other settings, or in which
            another process is working; a disk that refuses.
    """
    names, other_names = _checked_names(job)
    with storage_problems(job.output):
        job.output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with storage_problems(job.output):
            stack.enter_context(FolderLock(job.output))
            _claim(job)
            refuse_link(job.output / CODES)
            for folder in (job.output, job.output / CODES):
                remove_partial_files(folder, all_of_them=True)
            store = LocalStore(job.output)
            if has_tables(store):  # another engine was here
                lines = BatchManifest(store, "jsonl")
                lines.join(lines.read().values())
            manifest = stack.enter_context(Manifest(job.output))
        return _Run(job, names, other_names, manifest, progress or silent).finish()


def _checked_names(job: FolderJob) -> tuple[list[str], list[str]]:
    """Check the job's folders and numbers, and return the names of its pictures, and of the other files beside them."""
    check_choice("fit", job.fit, FITS)
    if job.chunk < 0 or job.count < 0:
        raise InputError(f"The chunk and the count cannot be negative; got {job.chunk} and {job.count}.")
    if not job.source.is_dir():
        raise InputError(f"The input folder {job.source} does not exist. Give a folder of pictures.")
    source, output = job.source.resolve(), job.output.resolve()
    if source == output:
        raise InputError(
            f"The output folder is the input folder ({source}), and results would replace your pictures. "
            "Choose another output folder."
        )
    if output.exists() and not output.is_dir():
        raise InputError(f"The output folder {output} is a file. Choose another name.")
    try:
        names, other_names = folder_names(source)
    except OSError as error:
        raise InputError(f"The input folder {source} cannot be read ({error.strerror}).") from None
    if not names:
        passed_over = describe_passed_over(other_names)
        raise InputError(
            f"The folder {source} holds no pictures. Put files of {FORMAT_NAMES} into it, or choose another folder."
            f"{passed_over and ' '}{passed_over}"
        )
    return names, other_names


def _claim(job: FolderJob) -> None:
    """Make the output folder this job's, or see that it is; call it with the lock held."""
    settings = read_settings(job.output)
    if settings is not None:
        return check_settings(job.output, settings, job.settings)
    foreign = [name for name in os.listdir(job.output) if not name.startswith(".")]
    if foreign:
        raise InputError(
            f"The output folder {job.output} holds other files ({', '.join(sorted(foreign)[:3])}), which results might "
            "replace. Choose a new folder, or empty this one."
        )
    write_settings(job.output, job.settings)


class _Task(NamedTuple):  # as small as can be: there is one for every picture of the folder
    """One picture to work on: its name, and that of its result."""

    name: str
    result: str


class _Run:
    """One run over what is left of a job."""

    def __init__(
        self, job: FolderJob, names: list[str], other_names: list[str], manifest: Manifest, progress: Progress
    ) -> None:
        self.job, self.manifest, self.progress = job, manifest, progress
        self.editor = PhotoEditor(job.transfer, job.fit, job.background)
        self.total, self.other_names = len(names), other_names
        tasks, self.skipped_before = self._unfinished(names)
        self.done_before = self.total - len(tasks)
        self.chunk = job.chunk or job.transfer.per_pass
        # What was skipped before is looked at once more, at the end, where it takes no other picture's turn.
        first_try = [task for task in tasks if task.name not in self.skipped_before]
        retries = [task for task in tasks if task.name in self.skipped_before]
        self.tasks = (first_try[: job.count] if job.count else first_try) + retries
        self.worked = self.done = self.skipped = self.clamped = 0
        self.problems: list[str] = []

    def finish(self) -> JobReport:
        """Work on every task."""
        began = time.monotonic()
        self._pass_over()
        if self.job.keep_codes:
            with storage_problems(self.job.output):
                (self.job.output / CODES).mkdir(exist_ok=True)
        pool = ThreadPoolExecutor(FILE_THREADS, "semantic-edit-files")
        try:
            for photos in self._chunks(pool):
                self._work(photos, pool)
                with storage_problems(self.job.output):
                    self.manifest.settle()
        finally:
            pool.shutdown(cancel_futures=True)
        return JobReport(
            self.job.output, self.total, self.done_before, self.done, self.skipped, self.clamped, tuple(self.problems),
            time.monotonic() - began, tuple(self.other_names),
        )  # fmt: skip

    def _pass_over(self) -> None:
        """Put on record which files of the folder are no pictures by their names."""
        with storage_problems(self.job.output):
            for name in self.other_names:
                record = Record(name, SKIPPED, problem=PASSED_OVER, finished=utc_now())
                earlier = self.skipped_before.get(name)
                if earlier is None or not earlier.same_outcome(record):
                    self.manifest.add(record)

    def _unfinished(self, names: list[str]) -> tuple[list[_Task], dict[str, Record]]:
        """Return the pictures that are not finished, and the records of those that were skipped before."""
        records: dict[str, Record] = {}
        with storage_problems(self.job.output):
            for record in read_records(self.job.output):
                records[record.file] = record
        results = own_results(records)
        tasks = [
            _Task(name, result)
            for name, result in zip(names, name_results(names, results), strict=True)
            if not (name in results and self._is_current(records[name]))
        ]
        return tasks, {name: record for name, record in records.items() if record.status == SKIPPED}

    def _is_current(self, record: Record) -> bool:
        """Tell whether the input is still the same, and what was made of it still there."""
        if source_state(self.job.source / record.file) != (record.source_bytes, record.source_time):
            return False
        has_code = not record.code or source_state(self.job.output / record.code)[0] > 0
        return has_code and source_state(self.job.output / record.result)[0] == record.result_bytes

    def _chunks(self, pool: ThreadPoolExecutor) -> Iterator[list[Photo]]:
        """Yield the pictures chunk by chunk; the next one is read while the networks work on this one."""
        ahead: list[Future] = []
        for first in range(0, len(self.tasks) + self.chunk, self.chunk):
            reading, ahead = ahead, [pool.submit(self._read, t) for t in self.tasks[first : first + self.chunk]]
            if reading:
                yield [future.result() for future in reading]

    def _read(self, task: _Task) -> Photo:
        file = self.job.source / task.name
        return self.editor.read(file, task.name, task.result, source_state(file))

    def _work(self, photos: list[Photo], pool: ThreadPoolExecutor) -> None:
        """Edit the photos of one chunk, and put each on record."""
        for edited in self.editor.edit(photos, pool, lambda *_: self._report(None)):
            if edited.png is None:
                self._skip(edited.record)
            else:
                self._keep(edited)
            self.worked += 1
            self._report(None if edited.image is None else edited.image * 0.5 + 0.5)

    def _keep(self, edited: EditedPhoto) -> None:
        """Write the result, and its code where codes are kept, then the line in the manifest."""
        record = edited.record
        with storage_problems(self.job.output):
            if self.job.keep_codes:
                record = replace(record, code=f"{CODES}/{Path(record.result).stem}.safetensors")
                title = record.file.encode("utf-8", "replace").decode()
                family = self.job.transfer.generator.family
                write_latent(self.job.output / record.code, edited.code, [title], family, make_folder=False)
            with atomic_write(self.job.output / record.result) as partial:
                partial.write_bytes(edited.png)
            self.manifest.add(record)
        self.done += 1
        self.clamped += record.clamped

    def _skip(self, record: Record) -> None:
        """Put on record that a picture was left out, and why."""
        earlier = self.skipped_before.get(record.file)
        if earlier is None or not earlier.same_outcome(record):  # tried once more, and nothing has changed
            with storage_problems(self.job.output):
                self.manifest.add(record)
        self.skipped += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(f"{printable(record.file)}: {printable(record.problem)}")

    def _report(self, preview: Tensor | None) -> None:
        """Report the pictures worked on so far, with the newest result [3, H, W] in 0..1."""
        self.progress(self.worked, len(self.tasks), preview)
