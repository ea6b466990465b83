"""The engine on Ray Data: actors that hold the networks once, and get one batch after the other.

Ray Data hands out as many batches as there are free workers, so that memory stays flat and slow storage slows the hand-
out, starts a worker again that has died, and gives its batch to another.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from ...models.errors import InputError
from ...models.loading.torchvision_stubs import allow_declaring
from .job import BatchJob
from .tasks import PictureBatch
from .worker import BatchReport, BatchWorker

__all__ = ["RayEngine"]

_OBJECT_STORE = 128 * 2**20  # bytes on a machine of our own: it carries names and reports, no pictures
_IN_FLIGHT = 2  # batches a worker holds, so that it never waits for the next


class _RayWorker(BatchWorker):
    """A worker with a process to itself."""

    def __init__(self, job: BatchJob) -> None:
        allow_declaring()
        super().__init__(job)


@dataclass(frozen=True)
class RayEngine:
    """Does batches on Ray; ``engine(job, batches)``.

    Args:
        workers: their number; 0: one for each CPU, or GPU, that Ray has.
        address: of a running cluster; "": Ray is started on this machine, and ended afterwards.
        cpus, gpus: of each worker; a fraction of a GPU is shared.
    """

    workers: int = 0
    address: str = ""
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers < 0 or self.gpus < 0 or not self.cpus > 0:
            raise InputError(
                f"A job needs workers with CPUs; got {self.workers} workers of {self.cpus:g} CPUs and "
                f"{self.gpus:g} GPUs. Expected numbers above 0, of GPUs 0 or more."
            )
        _import_ray()

    @property
    def planned_workers(self) -> int:
        """The number of workers, as far as it is known before Ray is there."""
        return self.workers or max(1, int((os.cpu_count() or 1) // self.cpus))

    def __call__(self, job: BatchJob, batches: list[PictureBatch]) -> Iterator[BatchReport]:
        """Do batches; yields each report as it comes.

        Raises:
            InputError: Ray cannot be started or reached, has no room for the workers, or gives up.
        """
        if not batches:
            return
        ray = _import_ray()
        own = not ray.is_initialized()
        if own:
            self._start(ray)
        try:
            yield from self._reports(ray, job, batches)
        except ray.exceptions.RayError as error:
            raise InputError(f"Ray gave up: {_reason(error)}. {_GOES_ON}") from None
        finally:
            if own:
                ray.shutdown()

    def _start(self, ray: ModuleType) -> None:
        """Start Ray on this machine, or join a cluster."""
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
        own = {
            "address": "local",
            "num_cpus": max(1, round(self.planned_workers * self.cpus)),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
        }
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # Its core calls every actor that may be started again a danger, on the terminal.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        try:
            ray.init(**(quiet | ({"address": self.address} if self.address else own)))
        except Exception as error:  # of many kinds, some of them Ray's own
            where = f"The cluster {self.address} cannot be reached" if self.address else "Ray cannot be started here"
            raise InputError(f"{where}: {_reason(error)}.") from None

    def _reports(self, ray: ModuleType, job: BatchJob, batches: list[PictureBatch]) -> Iterator[BatchReport]:
        workers = min(self._count(ray), len(batches))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.verbose_stats_logs = False
        rows = [{"batch": batch.pack()} for batch in batches]
        reports = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _RayWorker,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=_IN_FLIGHT),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )
        for block in reports.iter_batches(batch_size=None, prefetch_batches=0):
            for text in block["report"]:
                fields = json.loads(str(text))
                yield BatchReport(**{**fields, "problems": tuple(fields["problems"])})

    def _count(self, ray: ModuleType) -> int:
        """Return how many workers there is room for, as many as were asked for.

        Raises:
            InputError: there is less room.
        """
        resources = ray.cluster_resources()
        room = int(resources.get("CPU", 0) // self.cpus)
        if self.gpus:
            room = min(room, int(resources.get("GPU", 0) / self.gpus))
        if room < max(1, self.workers):
            raise InputError(
                f"Ray has {resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs, room for {room} "
                f"workers of {self.cpus:g} CPUs and {self.gpus:g} GPUs; {max(1, self.workers)} were asked for."
            )
        return self.workers or room


_GOES_ON = "What is finished is kept: the same command goes on from there"


def _import_ray() -> ModuleType:
    """Import Ray Data, which then sends nobody statistics of its use."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            f'--engine ray needs the package Ray ({error}). Install it: pip install "semantic-edit[ray]"'
        ) from None
    return ray


def _reason(error: BaseException) -> str:
    cause = getattr(error, "cause", None) or error.__cause__ or error
    text = " ".join(str(cause).split()) or type(cause).__name__
    return (text if len(text) < 400 else f"{text[:400]} ...").rstrip(".")
