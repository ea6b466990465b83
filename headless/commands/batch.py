"""``semantic-edit batch``: one edit for every picture of a folder, without a workflow, here or on Ray."""

from __future__ import annotations

import argparse
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from ...editing.common.progress import Progress
from ...jobs import FolderJob, run_job
from ...jobs.batches import BatchJob, RayEngine, dry_run, run_batches
from ...jobs.batches.run import here
from ...jobs.frozen import FrozenJob, read_frozen, thaw
from ...jobs.stores import is_remote
from ...jobs.tars import SHARD_SUFFIX
from ...models.errors import InputError
from ...models.files.picture_formats import is_picture_name
from ...models.printable import write_line
from ..host.headless_host import HeadlessHost, HeadlessSettings, use_headless
from .batch_options import BACKGROUNDS, EDIT_OPTIONS, add_edit_options, frozen_job, make_transfer

__all__ = ["add_command", "make_job", "run"]

_ENGINES = _LOCAL, _RAY = ("local", "ray")
_RAY_OPTIONS = {"address": "", "workers": 0, "cpus": 1.0, "gpus": None}


def add_command(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Add the command and its options to a parser.

    Args:
        commands: the subcommands that it joins.
        common: options of all commands.
    """
    batch = commands.add_parser("batch", parents=[common], help="edit every picture of a folder, however large")
    batch.set_defaults(command=run)
    about = "the folder or address (s3://...) of the pictures, or of shards of them; or a job from 'plan'"
    batch.add_argument("folder", metavar="PICTURES|JOB", help=about)
    about = "folder or address for the results: new, or that of the same job, which then goes on where it stopped; of "
    about += "a job, left out: a folder of its name beside it"
    batch.add_argument("--output", metavar="DIR", help=about)
    add_edit_options(batch)
    about = "pictures in memory at a time; results do not depend on it (default: chosen by size)"
    batch.add_argument("--chunk", type=int, default=0, metavar="N", help=about)
    batch.add_argument("--count", type=int, default=0, metavar="N", help="finish at most so many pictures this time")
    batch.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    about = "say what would be done, and how long it would take by the first hundred; writes nothing"
    batch.add_argument("--dry-run", action="store_true", help=about)
    batch.add_argument("--shards", action="store_true", help="results as WebDataset shards (.tar), not as single files")
    about = "local: this process; ray: workers here or on a cluster, with the same results (pip: semantic-edit[ray])"
    batch.add_argument("--engine", choices=_ENGINES, default=_LOCAL, help=about)
    about = "with --engine ray: a running cluster, such as auto or ray://head:10001 (default: Ray is started here)"
    batch.add_argument("--address", metavar="ADDRESS", default="", help=about)
    about = "with --engine ray: how many (default: one for each CPU, or GPU)"
    batch.add_argument("--workers", type=int, default=0, metavar="N", help=about)
    batch.add_argument("--cpus", type=float, default=1.0, metavar="N", help="with --engine ray: CPUs of a worker")
    about = "with --engine ray: GPUs of a worker, such as 1 or 0.5 (default: 1 where this machine has some, else 0)"
    batch.add_argument("--gpus", type=float, metavar="N", help=about)
    about = "pictures that a worker finishes, and puts on record, at a time (default: chosen by their number)"
    batch.add_argument("--per-batch", type=int, default=0, metavar="N", help=about)


def run(options: argparse.Namespace) -> None:
    """Run the job and print its report."""
    _check_engine_options(options)
    source = Path(options.folder)
    frozen = read_frozen(source) if not is_remote(options.folder) and source.is_file() else None
    if frozen is not None:
        _check_left_out(options)
        moved = {name: getattr(options, name) for name in ("generator", "encoder")}
        frozen = replace(frozen, **{name: file for name, file in moved.items() if file != EDIT_OPTIONS[name]})
    output = options.output or (str(source.with_suffix("")) if frozen is not None else None)
    if output is None:
        raise InputError("--output is missing: the folder or address for the results.")
    options.output = output
    if frozen is None and not options.direction:
        raise InputError("--direction is missing: the edit, such as smile, or a .safetensors from Save Direction.")
    backend = use_headless(HeadlessSettings(output=Path(output), device=options.device))
    if _goes_in_batches(options, options.folder if frozen is None else frozen.source):
        _run_in_batches(options, frozen or frozen_job(options, backend.device()), backend)
        return
    job = make_job(options, backend) if frozen is None else _folder_job(options, frozen, backend)
    with _shown(backend, job.source.name) as progress:
        report = run_job(job, progress)
    write_line(sys.stdout, f"{report}\nResults and manifest: {report.output}")


def make_job(options: argparse.Namespace, backend: HeadlessHost) -> FolderJob:
    """Read all files that the options name.

    Raises:
        InputError: an option out of its range, options that exclude each other, or a file that cannot be used.
    """
    return FolderJob(
        Path(options.folder),
        Path(options.output),
        make_transfer(options, backend.device()),
        options.fit,
        BACKGROUNDS[options.background],
        options.chunk,
        options.count,
        options.codes,
    )


def _folder_job(options: argparse.Namespace, frozen: FrozenJob, backend: HeadlessHost) -> FolderJob:
    """Make the job that a frozen one describes."""
    return FolderJob(
        Path(frozen.source),
        Path(options.output),
        thaw(frozen, backend.device()),
        frozen.fit,
        frozen.background,
        options.chunk,
        options.count,
        frozen.keep_codes,
    )


def _run_in_batches(options: argparse.Namespace, frozen: FrozenJob, backend: HeadlessHost) -> None:
    """Do a job in batches, in this process or on Ray, or say what it would do."""
    on_ray = options.engine == _RAY
    device = options.device
    if device == "auto" and not options.address:
        device = backend.device().type if on_ray else str(backend.device())
    gpus = float(options.gpus if options.gpus is not None else on_ray and device == "cuda" and not options.address)
    job = BatchJob(
        frozen, options.output, "parquet" if on_ray else "jsonl", options.count, options.chunk, options.per_batch,
        options.shards, device, max(1, round(options.cpus)) if on_ray else 0,
    )  # fmt: skip
    engine = RayEngine(options.workers, options.address, options.cpus, gpus) if on_ray else None
    workers = engine.planned_workers if engine is not None else 1
    with _shown(backend, Path(frozen.source).name) as progress:
        if options.dry_run:
            text = dry_run(job, progress, workers)
        else:
            report = run_batches(job, engine or here, progress, workers)
            text = f"{report}\nResults and manifest: {report.output}"
    write_line(sys.stdout, text)


class _shown(AbstractContextManager):  # noqa: N801 - reads as a verb: with _shown(...) as progress
    """Shows the progress of a job, and says what a stop leaves."""

    def __init__(self, backend: HeadlessHost, title: str) -> None:
        self.backend, self.title = backend, title

    def __enter__(self) -> Progress:
        self.backend.settings.bar.start_long(self.title, "pictures")
        return self.backend.progress(0, "")

    def __exit__(self, kind: type | None, *unused: object) -> None:
        self.backend.settings.bar.clear()
        if kind is KeyboardInterrupt:
            write_line(sys.stderr, "\nWhat is finished is kept: the same command goes on from here.")


def _goes_in_batches(options: argparse.Namespace, source: str) -> bool:
    """Tell whether a job goes in batches: on Ray, at addresses, from or into shards, or only to be tried."""
    if options.engine == _RAY or options.shards or options.dry_run or is_remote(source) or is_remote(options.output):
        return True
    folder = Path(source)
    names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    return any(name.lower().endswith(SHARD_SUFFIX) for name in names) and not any(map(is_picture_name, names))


def _check_engine_options(options: argparse.Namespace) -> None:
    changed = [name for name, default in _RAY_OPTIONS.items() if getattr(options, name) != default]
    if changed and options.engine != _RAY:
        raise InputError(f"--{changed[0]} needs --engine ray: without it the job runs in this process.")


def _check_left_out(options: argparse.Namespace) -> None:
    """Refuse options of the edit beside a job that has an edit."""
    changed = [name for name, default in EDIT_OPTIONS.items() if getattr(options, name) != default]
    changed = [name for name in changed if name not in ("generator", "encoder")]  # their files may be elsewhere here
    if changed:
        raise InputError(
            f"--{changed[0]} is frozen in the job {options.folder}. Leave it out, or plan another job with it."
        )
