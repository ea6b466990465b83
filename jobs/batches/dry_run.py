"""A dry run: what a job would do, and how long, from editing its first pictures without keeping them."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from ...editing.common.progress import Progress, silent
from ...models.files.picture_formats import describe_passed_over
from ..batch_manifest import BatchManifest
from .job import BatchJob
from .run import checked_source, is_claimed, open_job
from .tasks import PictureBatch, divide, unfinished
from .worker import BatchWorker

__all__ = ["dry_run"]

_TRIED = 100  # pictures


def dry_run(job: BatchJob, progress: Progress | None = None, workers: int = 1, tried: int = _TRIED) -> str:
    """Describe what a job would do, in lines of text; nothing is written.

    Args:
        progress: counts the pictures that are tried; may raise to stop.
        workers: for the time left.
        tried: how many pictures are edited at most.

    Raises:
        InputError: as of the run itself.
    """
    source, output = open_job(job)
    listed = checked_source(source)
    is_claimed(job, output)
    records = BatchManifest(output, job.form).read() if output.exists() else {}
    left = unfinished(listed, records, output, job.frozen.keep_codes)
    batches = divide(left, job.count, job.per_batch, workers)
    count = sum(len(batch.pictures) for batch in batches)
    unit = "shards" if listed.shards else "pictures"
    total, todo = (len(listed.shards), len(batches)) if listed.shards else (len(listed.pictures), count)
    lines = [
        f"{total:,} {unit} in {source.address}; {total - len(left.shards or left.pictures + left.retries):,} are done.",
        f"{todo:,} would be edited now, in {len(batches):,} batches, into {output.address}.",
    ]
    if listed.other_names:
        lines.append(describe_passed_over(listed.other_names))
    if not batches:
        return "\n".join([*lines, "Nothing was written."])
    edited, skipped, size, seconds = _try_out(BatchWorker(job), batches, tried, progress or silent)
    rate = edited / max(seconds, 1e-9)
    lines.append(
        f"The first {edited + skipped} took {seconds:.1f} s, {rate:.3g} a second, without loading the networks"
        f"{f'; {skipped} of them could not be read' if skipped else ''}."
    )
    if edited:
        lines.append(f"A result takes about {size / edited / 1024:.0f} KiB.")
    if edited and not listed.shards:
        left_seconds = todo / rate
        shared = f", about {_duration(left_seconds / workers)} with {workers} workers" if workers > 1 else ""
        lines.append(f"All of them would take about {_duration(left_seconds)} at this rate{shared}.")
    return "\n".join([*lines, "Nothing was written."])


def _try_out(
    worker: BatchWorker, batches: list[PictureBatch], tried: int, progress: Progress
) -> tuple[int, int, int, float]:
    """Edit the first pictures; returns how many were edited and skipped, the bytes of results, and the seconds."""
    edited = skipped = size = 0
    _ = worker.editor  # the networks are loaded before the clock starts
    began = time.monotonic()
    with ThreadPoolExecutor(4, "semantic-edit-files") as pool:
        outcomes = (outcome for batch in batches for outcome in worker.edits(batch, pool))
        for outcome in islice(outcomes, tried):
            if outcome.png is None:
                skipped += 1
            else:
                edited, size = edited + 1, size + len(outcome.png)
            progress(edited + skipped, tried)
        seconds = time.monotonic() - began
    return edited, skipped, size, seconds


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
