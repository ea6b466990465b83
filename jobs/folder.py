"""A folder of any size through one edit: read, encode, move, draw, write, a few pictures at a time.

Memory holds the names and two chunks, whatever the size of the folder. A picture is finished when its result stands
under its name and its line in the manifest; a kill in between costs that picture's work, and no file. Starting the same
job again skips what is finished, and a file that is no picture is noted and left out.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ..editing.one_for_all.transfer import Transfer, TransferResult
from ..models.errors import InputError
from ..models.files.latents import write_latent
from ..models.files.pictures import FITS, PictureError, read_picture
from .listing import name_results, picture_names, source_state
from .lock import FolderLock
from .manifest import DONE, SKIPPED, Manifest, Record, read_records
from .settings import check_settings, describe_transfer, read_settings, write_settings
from .storage import storage_problems, sweep, write_whole

__all__ = ["FolderJob", "JobReport", "run_job"]

CODES = "codes"
_WORKERS = min(4, os.cpu_count() or 1)  # reading and packing pictures, beside the networks
_TOLD = 20  # problems that a report spells out


@dataclass(frozen=True, eq=False)
class FolderJob:
    """What to do.

    Args:
        source: the folder of the pictures; its subfolders are left alone.
        output: the folder of the results: new, empty, or that of the same job, which then goes on.
        transfer: the edit.
        fit, background: how pictures of another shape are fitted, as in ``read_picture``.
        chunk: pictures in memory at a time; 0: as many as the networks see at once. Results do not depend on it.
        count: the most pictures to finish this time; 0: all.
        keep_codes: also keep each picture's code before the edit, as a file.
    """

    source: Path
    output: Path
    transfer: Transfer
    fit: str = FITS[0]
    background: tuple[int, int, int] = (255, 255, 255)
    chunk: int = 0
    count: int = 0
    keep_codes: bool = False

    @property
    def settings(self) -> dict[str, object]:
        """Everything that changes the results."""
        return {
            **describe_transfer(self.transfer),
            "input folder": str(self.source.resolve()),
            "fit": self.fit,
            "background": list(self.background),
            "codes": "kept" if self.keep_codes else "not kept",
        }


@dataclass(frozen=True)
class JobReport:
    """What a run left behind.

    Args:
        output: where the results and the manifest are.
        total: pictures in the input folder.
        before: how many were finished by earlier runs.
        done, skipped: of this run.
        clamped: how many of this run were held back by the limit.
        problems: a sentence for each of the first few that were skipped.
        seconds: of this run.
    """

    output: Path
    total: int
    before: int
    done: int
    skipped: int
    clamped: int
    problems: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        earlier = f", {self.before} were done before" if self.before else ""
        left = self.total - self.before - self.done - self.skipped
        parts = [f"{self.done} of {self.total} pictures edited in {self.seconds:.0f} s{earlier}."]
        if self.clamped:
            parts.append(f"{self.clamped} were held back by the limit.")
        if self.skipped:
            parts.append(f"{self.skipped} could not be read and were left out:")
            parts += [f"  {problem}" for problem in self.problems]
            parts += ["  ..."] if self.skipped > len(self.problems) else []
        if left:
            parts.append(f"{left} are left for the next time.")
        return "\n".join(parts)


def run_job(job: FolderJob, progress: Callable[..., None] | None = None) -> JobReport:
    """Do a job, or what is left of it.

    Args:
        progress: called with (pictures worked on, pictures to work on, the newest result [3, H, W] in 0..1 or None)
            after each picture and within long passes; may raise to stop, and whatever is finished stays finished.

    Raises:
        InputError: no pictures; an output folder that holds something else, or a job of other settings, or in which
            another process is working; a disk that refuses.
    """
    names = _checked_names(job)
    with storage_problems(job.output):
        job.output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with storage_problems(job.output):
            held.enter_context(FolderLock(job.output))
            _claim(job)
            for folder in (job.output, job.output / CODES):
                sweep(folder)
            manifest = held.enter_context(Manifest(job.output))
        return _Run(job, names, manifest, progress).all()


def _checked_names(job: FolderJob) -> list[str]:
    if job.fit not in FITS:
        raise InputError(f"Unknown fit '{job.fit}'; expected one of {', '.join(FITS)}.")
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
        names = picture_names(source)
    except OSError as error:
        raise InputError(f"The input folder {source} cannot be read ({error.strerror}).") from None
    if not names:
        raise InputError(
            f"The folder {source} holds no pictures. Put PNG, JPEG or WebP files into it, or choose another folder."
        )
    return names


def _claim(job: FolderJob) -> None:
    """Make the output folder this job's, or see that it is; call it with the lock held."""
    before = read_settings(job.output)
    if before is not None:
        return check_settings(job.output, before, job.settings)
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


@dataclass(frozen=True, eq=False)
class _Read:
    """A picture in memory [3, H, W] in -1..1, or why it is not."""

    task: _Task
    pixels: Tensor | None
    problem: str
    state: tuple[int, int]


class _Run:
    """One run over what is left of a job."""

    def __init__(self, job: FolderJob, names: list[str], manifest: Manifest, progress: Callable | None) -> None:
        self.job, self.manifest, self.progress = job, manifest, progress
        self.total = len(names)
        tasks, self.skipped_before = self._left(names)
        self.before = self.total - len(tasks)
        self.chunk = job.chunk or job.transfer.per_pass
        # What was skipped before is looked at once more, at the end, where it takes no other picture's place.
        fresh = [task for task in tasks if task.name not in self.skipped_before]
        again = [task for task in tasks if task.name in self.skipped_before]
        self.tasks = (fresh[: job.count] if job.count else fresh) + again
        self.worked = self.done = self.skipped = self.clamped = 0
        self.problems: list[str] = []

    def all(self) -> JobReport:
        began = time.monotonic()
        if self.job.keep_codes:
            with storage_problems(self.job.output):
                (self.job.output / CODES).mkdir(exist_ok=True)
        pool = ThreadPoolExecutor(_WORKERS, "semantic-edit-files")
        try:
            for chunk in self._chunks(pool):
                self._work(chunk, pool)
                with storage_problems(self.job.output):
                    self.manifest.settle()
        finally:
            pool.shutdown(cancel_futures=True)
        return JobReport(
            self.job.output, self.total, self.before, self.done, self.skipped, self.clamped, tuple(self.problems),
            time.monotonic() - began,
        )  # fmt: skip

    def _left(self, names: list[str]) -> tuple[list[_Task], dict[str, Record]]:
        """The pictures that are not finished, and what is on record of those that were skipped before."""
        known: dict[str, Record] = {}
        with storage_problems(self.job.output):
            for record in read_records(self.job.output):
                known[record.file] = record
        given = {name: record.result for name, record in known.items() if record.status == DONE}
        tasks = [
            _Task(name, result)
            for name, result in zip(names, name_results(names, given), strict=True)
            if not (name in given and self._is_whole(known[name]))
        ]
        return tasks, {name: record for name, record in known.items() if record.status == SKIPPED}

    def _is_whole(self, record: Record) -> bool:
        """Whether the input is still the same, and what was made of it still there."""
        if source_state(self.job.source / record.file) != (record.source_bytes, record.source_time):
            return False
        code_there = not record.code or source_state(self.job.output / record.code)[0] > 0
        return code_there and source_state(self.job.output / record.result)[0] == record.result_bytes

    def _chunks(self, pool: ThreadPoolExecutor) -> Iterator[list[_Read]]:
        """The pictures chunk by chunk; the next one is read while the networks work on this one."""
        ahead: list[Future] = []
        for first in range(0, len(self.tasks) + self.chunk, self.chunk):
            reading, ahead = ahead, [pool.submit(self._read, t) for t in self.tasks[first : first + self.chunk]]
            if reading:
                yield [future.result() for future in reading]

    def _read(self, task: _Task) -> _Read:
        file = self.job.source / task.name
        state = source_state(file)
        try:
            colours, _ = read_picture(file, self.job.transfer.generator.resolution, self.job.fit, self.job.background)
        except PictureError as error:
            return _Read(task, None, str(error), state)
        return _Read(task, colours.movedim(-1, 0).mul(2).sub(1), "", state)

    def _work(self, chunk: list[_Read], pool: ThreadPoolExecutor) -> None:
        began = time.monotonic()
        readable = [each for each in chunk if each.pixels is not None]
        edited: TransferResult | None = None
        packed: list[Future] = []
        if readable:
            edited = self.job.transfer(torch.stack([each.pixels for each in readable]), lambda *_: self._tell(None))
            packed = [pool.submit(_as_png, image) for image in edited.images.cpu()]
        seconds = (time.monotonic() - began) / len(chunk)
        place = 0
        for each in chunk:
            picture = None
            if each.pixels is None:
                self._skip(each, each.problem, seconds)
            else:
                if bool(edited.usable[place]):
                    self._keep(each, edited, place, packed[place].result(), seconds)
                    picture = edited.images[place] * 0.5 + 0.5
                else:
                    self._skip(each, "no code was found for it (its numbers are not finite)", seconds)
                place += 1
            self.worked += 1
            self._tell(picture)

    def _keep(self, each: _Read, edited: TransferResult, place: int, png: bytes, seconds: float) -> None:
        code = f"{CODES}/{Path(each.task.result).stem}.safetensors" if self.job.keep_codes else ""
        clamped = bool(edited.strength.clamped[place])
        with storage_problems(self.job.output):
            if code:
                title = each.task.name.encode("utf-8", "replace").decode()
                family = self.job.transfer.generator.family
                write_latent(self.job.output / code, edited.codes[place][None], [title], family)
            write_whole(self.job.output / each.task.result, png)
            alpha, certain = float(edited.strength.alpha[place]), edited.strength.confidence
            self.manifest.add(
                Record(
                    each.task.name, DONE, each.task.result, code, alpha, clamped,
                    None if certain is None else float(certain[place]), "", *each.state, len(png), round(seconds, 4),
                    _now(),
                )
            )  # fmt: skip
        self.done += 1
        self.clamped += clamped

    def _skip(self, each: _Read, problem: str, seconds: float) -> None:
        record = Record(
            each.task.name, SKIPPED, problem=problem, source_bytes=each.state[0], source_time=each.state[1],
            seconds=round(seconds, 4), finished=_now(),
        )  # fmt: skip
        before = self.skipped_before.get(record.file)
        if before is None or not before.same_outcome(record):  # tried once more, and nothing has changed
            with storage_problems(self.job.output):
                self.manifest.add(record)
        self.skipped += 1
        if len(self.problems) < _TOLD:
            self.problems.append(f"{record.file}: {problem}")

    def _tick(self) -> None:
        self._tell(None)

    def _tell(self, picture: Tensor | None) -> None:
        if self.progress is not None:
            self.progress(self.worked, len(self.tasks), picture)


def _as_png(image: Tensor) -> bytes:
    """[3, H, W] about -1..1 as the bytes of a PNG file."""
    pixels = image.mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8).movedim(0, -1).contiguous().numpy()
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=4)
    return content.getvalue()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
