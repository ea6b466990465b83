"""The run of a job in batches: list, compare with what is done, let workers do the others, join the manifest.

The driver holds names and records, never a picture. It may die at any moment: what workers put on record stays, and
the same job started again goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ...editing.common.progress import Progress, silent
from ...models.errors import InputError
from ...models.files.picture_formats import FORMAT_NAMES, describe_passed_over
from ..batch_manifest import PARTS, BatchManifest
from ..folder import PASSED_OVER, PROBLEMS_SHOWN, JobReport
from ..manifest import CODES, SKIPPED, Record
from ..photo_edits import utc_now
from ..settings import JOB_NAME, check_settings, pack_settings, parse_settings
from ..stores import Store, open_store
from .job import BatchJob
from .tasks import PictureBatch, Source, divide, in_order, list_source, unfinished
from .worker import BatchReport, BatchWorker

__all__ = ["Engine", "here", "open_job", "run_batches"]

Engine = Callable[[BatchJob, list[PictureBatch]], Iterator[BatchReport]]


def here(
    job: BatchJob, batches: list[PictureBatch], progress: Callable[..., object] | None = None
) -> Iterator[BatchReport]:
    """Do batches in this process, one after the other."""
    worker = BatchWorker(job)
    return (worker.finish(batch, progress) for batch in batches)


def run_batches(job: BatchJob, engine: Engine = here, progress: Progress | None = None, workers: int = 1) -> JobReport:
    """Do a job, or what is left of it.

    Args:
        engine: does batches, in any order.
        progress: counts pictures, or shards, as batches are finished; may raise to stop, and whatever is finished stays
            finished.
        workers: of the engine, for the size of the batches.

    Raises:
        InputError: no pictures, an output that holds something else or a job of other settings, a checkpoint that is
            missing or another one, storage that refuses.
    """
    began, progress = time.monotonic(), progress or silent
    source, output = open_job(job)
    listed = checked_source(source)
    output.make()
    with output.lock():
        claim(job, output)
        manifest = BatchManifest(output, job.form)
        records = manifest.read()
        if records and not manifest.is_joined():
            manifest.join(in_order(records.values(), listed))
        folders = [PARTS, *([CODES] if job.frozen.keep_codes else [])]
        for folder in folders:
            output.make(folder)
        output.sweep(["", *folders])
        left = unfinished(listed, records, output, job.frozen.keep_codes)
        batches = divide(left, job.count, job.per_batch, workers)
        tally = _Tally(batches, progress)
        for report in engine(job, batches):
            tally.add(report)
        passed_over = _passed_over(listed, records)
        if batches or passed_over or not manifest.is_joined():
            records = manifest.read()
            records.update((record.file, record) for record in passed_over)
            manifest.join(in_order(records.values(), listed))
    total = len(listed.pictures)
    if listed.shards:
        total = left.done + tally.done + tally.skipped
    return JobReport(
        output.address, total, left.done, tally.done, tally.skipped, tally.clamped, tuple(tally.problems),
        time.monotonic() - began, tuple(listed.other_names), max(1, len(tally.memory)),
        max(tally.memory.values(), default=0.0),
    )  # fmt: skip


def open_job(job: BatchJob) -> tuple[Store, Store]:
    """Open the pictures and the place of the results.

    Raises:
        InputError: they are the same, or the pictures are not there.
    """
    source, output = open_store(job.frozen.source), open_store(job.output)
    if source.address == output.address:
        raise InputError(
            f"The output folder is the input folder ({source.address}), and results would replace your pictures. "
            "Choose another output folder."
        )
    if not source.exists():
        raise InputError(f"The input folder {source.address} does not exist. Give a folder of pictures.")
    return source, output


def checked_source(store: Store) -> Source:
    """List the pictures or shards of a store.

    Raises:
        InputError: there are none.
    """
    listed = list_source(store)
    if not listed.pictures and not listed.shards:
        passed_over = describe_passed_over(listed.other_names)
        raise InputError(
            f"The folder {store.address} holds no pictures. Put files of {FORMAT_NAMES} into it, or shards of them "
            f"(.tar), or choose another folder.{passed_over and ' '}{passed_over}"
        )
    return listed


def claim(job: BatchJob, output: Store) -> None:
    """Make the output this job's, or see that it is; call it with the lock held."""
    if not is_claimed(job, output):
        output.put(JOB_NAME, pack_settings(job.settings))


def is_claimed(job: BatchJob, output: Store) -> bool:
    """Tell whether the output is this job's already; it may become so where not.

    Raises:
        InputError: it holds something else, or a job of other settings.
    """
    try:
        content = output.read(JOB_NAME)
    except FileNotFoundError:
        foreign = sorted(entry.name for entry in output.entries() if not entry.name.startswith("."))
        if foreign:
            raise InputError(
                f"The output folder {output.address} holds other files ({', '.join(foreign[:3])}), which results might "
                "replace. Choose a new folder, or empty this one."
            ) from None
        return False
    check_settings(output.address, parse_settings(content, f"{output.address}/{JOB_NAME}"), job.settings)
    return True


class _Tally:
    """What the workers have said so far."""

    def __init__(self, batches: list[PictureBatch], progress: Progress) -> None:
        self.total = sum(len(batch.pictures) or 1 for batch in batches)
        self.by_shard = bool(batches) and batches[0].shard is not None
        self.done = self.skipped = self.clamped = self.worked = 0
        self.problems: list[str] = []
        self.memory: dict[str, float] = {}
        self.progress = progress
        if self.total:
            progress(0, self.total)

    def add(self, report: BatchReport) -> None:
        """Count a batch.

        Raises:
            InputError: it could not be done.
        """
        if report.error:
            raise InputError(f"A worker ({report.worker}) had to stop: {report.error}")
        self.done, self.skipped = self.done + report.done, self.skipped + report.skipped
        self.clamped += report.clamped
        self.problems += report.problems[: PROBLEMS_SHOWN - len(self.problems)]
        self.memory[report.worker] = max(report.memory, self.memory.get(report.worker, 0.0))
        self.worked += 1 if self.by_shard else report.done + report.skipped
        self.progress(min(self.worked, self.total), self.total)


def _passed_over(listed: Source, records: dict[str, Record]) -> list[Record]:
    """Return the records of files that are no pictures by their names, as far as they are not there yet."""
    fresh = (Record(name, SKIPPED, problem=PASSED_OVER, finished=utc_now()) for name in listed.other_names)
    return [record for record in fresh if record.file not in records or not record.same_outcome(records[record.file])]
