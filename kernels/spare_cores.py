"""No more threads than other programs leave cores for.

Two threads that share every operation of a layer wait for each other: where another program holds the core of one, both
stand still for a time slice at every operation, and two threads take three times as long as one. So inside
`sharing_cores` the number of torch's threads follows what the rest of the machine does; it comes back at the end. Only
systems with /proc/stat tell; elsewhere the number stays. `SEMANTIC_EDIT_THREADS=fixed` keeps it everywhere.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_STAT = Path("/proc/stat")
_ENVIRONMENT = "SEMANTIC_EDIT_THREADS"
_PAUSE = 0.25  # seconds between looks; the system counts in hundredths


class _Share:
    """What the host allowed, and what was seen last."""

    def __init__(self) -> None:
        self.depth = 0
        self.allowed = 0  # the host's own number of threads
        self.thread = 0  # the one that entered; torch keeps the number for each
        self.seen: tuple[float, float, float] | None = None  # wall, whole machine, this process, all in seconds


_share = _Share()
_lock = threading.Lock()


@contextmanager
def sharing_cores() -> Iterator[None]:
    """Let `settle` lower the number of torch's threads inside; at the end it is what it was."""
    mine = threading.get_ident()
    with _lock:
        outer = _share.depth == 0
        entered = outer or _share.thread == mine
        if outer:
            _share.allowed, _share.thread = torch.get_num_threads(), mine
        _share.depth += entered
    try:
        yield
    finally:
        with _lock:
            _share.depth -= entered
            if outer and torch.get_num_threads() != _share.allowed:
                torch.set_num_threads(_share.allowed)


def allowed_threads() -> int:
    """Return the host's number of threads, whatever other programs leave of it."""
    return _share.allowed if _inside() else torch.get_num_threads()


@contextmanager
def all_threads() -> Iterator[None]:
    """Use the host's number of threads inside, for what is timed once for all."""
    count, allowed = torch.get_num_threads(), allowed_threads()
    torch.set_num_threads(allowed)
    try:
        yield
    finally:
        torch.set_num_threads(count)


def settle() -> None:
    """Follow what other programs leave; called before a layer, and cheap."""
    if not _inside() or _share.allowed < 2 or os.environ.get(_ENVIRONMENT) == "fixed":
        return
    now = time.monotonic()
    if _share.seen is not None and now - _share.seen[0] < _PAUSE:
        return
    before, _share.seen = _share.seen, _look(now)
    if before is None or _share.seen is None or now - before[0] > 20 * _PAUSE:
        return
    wall, machine, own = (b - a for a, b in zip(before, _share.seen, strict=True))
    threads = spare_threads(_share.allowed, os.cpu_count() or 1, (machine - own) / wall)
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def spare_threads(allowed: int, cores: int, others: float) -> int:
    """Return how many of ``allowed`` threads find a core of their own beside ``others`` cores that are in use.

    A core that is half free counts: what a single program does now and then shall not halve the speed.
    """
    return max(1, min(allowed, int(cores - others + 0.5)))


def _inside() -> bool:
    return _share.depth > 0 and _share.thread == threading.get_ident()


def _look(now: float) -> tuple[float, float, float] | None:
    """Read how long the machine's cores and this process have worked so far, seconds; None where nothing tells."""
    try:
        with _STAT.open(encoding="ascii") as file:
            user, nice, system, _idle, _wait, *interrupts = (int(ticks) for ticks in file.readline().split()[1:9])
        return now, (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK"), time.process_time()
    except (OSError, ValueError, AttributeError):
        return None
