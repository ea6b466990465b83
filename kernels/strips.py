"""Strips of a layer as threads: each strip is worked by one thread from its first operation to its last.

Threads inside a strip wait for one another at every operation, which costs more than it brings where a strip fits into
the cache, and far more where another program has put one of them to sleep. Here a sleeping thread holds up the one
strip in its hands, and the others take what is left. An operation inside a strip always runs on one thread, so results
are the same bytes with any number of them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Strip = TypeVar("Strip")
Worker = Callable[[Strip], None]

_lock = threading.RLock()
_pools: dict[int, ThreadPoolExecutor] = {}


def run_strips(strips: Sequence[Strip], make_worker: Callable[[], Worker]) -> None:
    """Work every strip, on as many threads as torch has.

    Args:
        strips: in any order; no two of them may write to the same place.
        make_worker: called once in every thread, since a worker owns its buffers.
    """
    threads = min(torch.get_num_threads(), len(strips))
    with one_thread():
        waiting = deque(strips)
        if threads < 2:
            _drain(waiting, make_worker)
            return
        # Without gradients: what needs them brings its own backward pass.
        inference = torch.is_inference_mode_enabled()

        def help_out() -> None:
            with torch.inference_mode(inference), torch.no_grad():
                _drain(waiting, make_worker)

        helpers = [_pool(threads - 1).submit(help_out) for _ in range(threads - 1)]
        try:
            _drain(waiting, make_worker)
        finally:
            # A helper that has not come by now is not waited for.
            running = [helper for helper in helpers if not helper.cancel()]
            problems = [helper.exception() for helper in running]
        for problem in problems:
            if problem is not None:
                raise problem


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch's operations run on the thread that calls them; a second caller waits, as the setting is shared."""
    # A thread that helps out has one already; it never waits for whom it helps.
    if torch.get_num_threads() == 1:
        yield
        return
    with _lock:
        count = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(count)


def _drain(waiting: deque[Strip], make_worker: Callable[[], Worker]) -> None:
    """Work strips until none is left."""
    if not waiting:
        return
    try:
        work = make_worker()
        while True:
            try:
                strip = waiting.popleft()
            except IndexError:
                return
            work(strip)
    except BaseException:
        waiting.clear()  # after an error or an interruption nobody begins another
        raise


def _pool(size: int) -> ThreadPoolExecutor:
    """Return the threads that help out. They are born while the setting is 1, and keep it."""
    if size not in _pools:
        _pools[size] = ThreadPoolExecutor(size, thread_name_prefix="semantic-edit-strips")
    return _pools[size]


def _forget() -> None:
    """Begin anew in a forked process, which has none of the threads."""
    global _lock
    _lock = threading.RLock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
