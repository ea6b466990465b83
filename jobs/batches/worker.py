"""A worker: it holds the networks once, and finishes one batch of pictures after the other.

A batch is read while the one before is in the networks, edited, written, and then put on record by one small file.
A worker that dies has lost the batch it was at, and whoever gets that batch next finishes it; one that was finished
and not yet reported is recognised by its file.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

import torch

from ...models.errors import InputError
from ...models.files.latents import write_latent
from ...models.files.storage import StorageError
from ...models.printable import printable
from ..batch_manifest import BatchManifest
from ..frozen import thaw
from ..listing import result_stem
from ..manifest import CODES, SKIPPED, Record
from ..photo_edits import EditedPhoto, Photo, PhotoEditor, utc_now
from ..stores import Entry, open_store
from ..tars import ShardError, ShardWriter, name_in, read_shard
from .job import BatchJob
from .tasks import Picture, PictureBatch

__all__ = ["BatchReport", "BatchWorker"]

_FILE_THREADS = 8  # they wait for storage more than they compute
_PROBLEMS = 20  # that a report spells out
_TRIES = 20  # of a batch, until it counts as the reason why workers die
_UNREADABLE = "it cannot be read (it is no longer there)"


@dataclass(frozen=True)
class BatchReport:
    """What a worker says of a batch.

    Args:
        done, skipped, clamped: pictures.
        problems: a sentence for each of the first few that were skipped.
        seconds: of this batch.
        processor: seconds of the processor, of all threads.
        memory: the most that the worker has taken so far, MiB; 0 where the system does not tell.
        worker: the machine and the process.
        error: why the batch could not be done; "" when it was.
    """

    done: int = 0
    skipped: int = 0
    clamped: int = 0
    problems: tuple[str, ...] = ()
    seconds: float = 0.0
    processor: float = 0.0
    memory: float = 0.0
    worker: str = ""
    error: str = ""


class BatchWorker:
    """Finishes batches of one job. The networks are loaded with the first of them."""

    def __init__(self, job: BatchJob) -> None:
        self.job = job
        self.source, self.output = open_store(job.frozen.source), open_store(job.output)
        self.manifest = BatchManifest(self.output, job.form)
        self._editor: PhotoEditor | None = None

    def __call__(self, rows: dict[str, Iterable[str]]) -> dict[str, list[str]]:
        """Finish the batches of a block of Ray Data; what is wrong is part of the report, so that nobody repeats it."""
        return {"report": [json.dumps(asdict(self._try(PictureBatch.unpack(text)))) for text in rows["batch"]]}

    def _try(self, batch: PictureBatch) -> BatchReport:
        """Finish a batch, unless too many workers have died of it: Ray would go on for ever."""
        try:
            tries = self.manifest.count_try(batch.key)
        except InputError as error:
            return BatchReport(error=str(error), worker=worker_name())
        if tries > _TRIES:
            names = [batch.shard.name] if batch.shard else [picture.name for picture in batch.pictures]
            return BatchReport(
                worker=worker_name(),
                error=f"{_TRIES} workers died, one after the other, while they worked on the batch from "
                f"{printable(names[0])} to {printable(names[-1])}. Give a worker more memory, or move out of the "
                "folder what cannot be decoded.",
            )
        return self.finish(batch)

    def finish(self, batch: PictureBatch, progress: Callable[..., object] | None = None) -> BatchReport:
        """Finish a batch, and report.

        Args:
            progress: called while the networks work; may raise to stop.
        """
        began, busy, worker = time.monotonic(), time.process_time(), worker_name()
        try:
            records = self.manifest.batch(batch.key)
            if records is None:
                records = self._work(batch, progress)
                self.manifest.add_batch(batch.key, records)
        except InputError as error:
            return BatchReport(error=str(error), worker=worker)
        skipped = [record for record in records if record.status == SKIPPED]
        problems = (f"{printable(record.file)}: {printable(record.problem)}" for record in islice(skipped, _PROBLEMS))
        return BatchReport(
            len(records) - len(skipped), len(skipped), sum(record.clamped for record in records), tuple(problems),
            time.monotonic() - began, time.process_time() - busy, peak_memory(), worker,
        )  # fmt: skip

    @property
    def editor(self) -> PhotoEditor:
        """The edit, with its networks; loaded when first asked for."""
        if self._editor is None:
            job = self.job
            if job.threads:
                torch.set_num_threads(job.threads)
            device = job.device if job.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
            self._editor = PhotoEditor(thaw(job.frozen, device), job.frozen.fit, job.frozen.background)
        return self._editor

    def edits(
        self, batch: PictureBatch, pool: ThreadPoolExecutor, progress: Callable[..., object] | None = None
    ) -> Iterator[EditedPhoto]:
        """Read and edit the pictures of a batch, without writing anything."""
        chunk = self.job.chunk or self.editor.transfer.per_pass
        photos = self._photos(batch, pool) if batch.shard is None else self._members(batch.shard, pool)
        reading: list[Future | Photo] = list(islice(photos, chunk))
        while reading:
            ahead = list(islice(photos, chunk))  # are being read while the networks work
            ready = [photo.result() if isinstance(photo, Future) else photo for photo in reading]
            yield from self.editor.edit(ready, pool, progress)
            reading = ahead

    def _work(self, batch: PictureBatch, progress: Callable[..., object] | None) -> list[Record]:
        """Edit and write the pictures of a batch; every file is written when this returns."""
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(_FILE_THREADS, "semantic-edit-files"))
            writer = _FileWriter(self, pool)
            if self.job.shards:
                writer = _BatchShardWriter(self, batch, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            records = [writer.add(edited) for edited in self.edits(batch, pool, progress)]
            writer.finish()
        if batch.shard is not None and not records:
            problem = "it holds no pictures"
            records = [Record(batch.shard.name, SKIPPED, "", problem=problem, source_bytes=batch.shard.size,
                              source_time=batch.shard.version, finished=utc_now())]  # fmt: skip
        return records

    def _photos(self, batch: PictureBatch, pool: ThreadPoolExecutor) -> Iterator[Future]:
        return (pool.submit(self._read, picture) for picture in batch.pictures)

    def _read(self, picture: Picture) -> Photo:
        state = (picture.size, picture.version)
        try:
            with self.source.fetch(picture.name) as path:
                return self.editor.read(path, picture.name, picture.result, state)
        except FileNotFoundError:
            return Photo(picture.name, picture.result, state, problem=_UNREADABLE)

    def _members(self, shard: Entry, pool: ThreadPoolExecutor) -> Iterator[Future | Photo]:
        """Read the pictures of a shard, in its order; a damaged one ends with a photo that says so."""
        state = (shard.size, shard.version)
        names, stems = _Unused(), _Unused()
        try:
            with self.source.fetch(shard.name) as path:
                for member in read_shard(path):
                    name = names.take(name_in(shard.name, member.name))
                    stem = stems.take(str(PurePosixPath(member.name).with_suffix("")).strip("/").replace("/", "-"))
                    result = f"{result_stem(stem if self.job.shards else f'{shard.name}#{stem}')}.png"
                    if member.content is None:
                        yield Photo(name, result, state, problem="its file is too large")
                        continue
                    yield pool.submit(self._decode, name, result, state, member.content)
        except FileNotFoundError:
            yield Photo(shard.name, "", state, problem=_UNREADABLE)
        except ShardError as error:
            yield Photo(shard.name, "", state, problem=str(error))
        except OSError as error:  # the disk's fault, not the shard's: nothing goes on record
            raise StorageError(f"{shard.name} cannot be read ({error}). Start the same job again.", error) from None

    def _decode(self, name: str, result: str, state: tuple[int, int], content: bytes) -> Photo:
        with tempfile.TemporaryDirectory(prefix="semantic_edit-") as folder:
            path = Path(folder) / "member"
            path.write_bytes(content)
            return self.editor.read(path, name, result, state)


class _Unused:
    """Names that nobody has taken yet, capitals aside."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """Return the name, with a number where it is taken."""
        candidate, number = name, 2
        while candidate.casefold() in self._taken:
            candidate, number = f"{name}-{number}", number + 1
        self._taken.add(candidate.casefold())
        return candidate


class _FileWriter:
    """Writes each result as a file of its own, several at a time."""

    def __init__(self, worker: BatchWorker, pool: ThreadPoolExecutor) -> None:
        self.worker, self.pool = worker, pool
        self._writing: list[Future] = []

    def add(self, edited: EditedPhoto) -> Record:
        """Begin to write the outcome of a picture; returns its record."""
        record = edited.record
        if edited.png is None:
            return record
        if self.worker.job.frozen.keep_codes:
            record = with_code(record)
            self._writing.append(self.pool.submit(put_code, self.worker, edited, record))
        self._writing.append(self.pool.submit(self.worker.output.put, record.result, edited.png))
        while len(self._writing) > 4 * _FILE_THREADS:  # storage that is slow makes the networks wait, and memory flat
            self._writing.pop(0).result()
        return record

    def finish(self) -> None:
        """Wait until every file is written."""
        for writing in self._writing:
            writing.result()
        self._writing = []


class _BatchShardWriter:
    """Writes the results of a batch as one shard."""

    def __init__(self, worker: BatchWorker, batch: PictureBatch, folder: Path) -> None:
        self.worker, self.path = worker, folder / "shard.tar"
        self.name = f"batch-{batch.key}.tar" if batch.shard is None else batch.shard.name
        self.writer, self.is_empty = ShardWriter(self.path), True

    def add(self, edited: EditedPhoto) -> Record:
        """Add the outcome of a picture; returns its record."""
        record = edited.record
        if edited.png is None:
            return record
        self.is_empty = False
        fields = {name: field for name, field in asdict(record).items() if name not in ("seconds", "finished")}
        member = self.writer.add(record.result, edited.png, fields)
        record = replace(record, result=f"{self.name}#{member}")
        if self.worker.job.frozen.keep_codes:
            record = with_code(record)
            put_code(self.worker, edited, record)
        return record

    def finish(self) -> None:
        """Put the shard, unless nothing is in it."""
        self.writer.close()
        if not self.is_empty:
            self.worker.output.put(self.name, self.path)


def with_code(record: Record) -> Record:
    """Return a record that names the file of its code."""
    return replace(record, code=f"{CODES}/{record.result.removesuffix('.png')}.safetensors")


def put_code(worker: BatchWorker, edited: EditedPhoto, record: Record) -> None:
    """Write the code of a picture."""
    title = record.file.encode("utf-8", "replace").decode()
    with tempfile.TemporaryDirectory(prefix="semantic_edit-") as folder:
        path = Path(folder) / "code.safetensors"
        write_latent(path, edited.code, [title], worker.editor.transfer.generator.family)
        worker.output.put(record.code, path.read_bytes())


def worker_name() -> str:
    """Name the machine and the process."""
    return f"{platform.node()}, process {os.getpid()}"


def peak_memory() -> float:
    """Return the most memory (MiB) that this process has taken; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1024 if platform.system() != "Darwin" else 1024**2  # kilobytes on Linux, bytes on a Mac
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
