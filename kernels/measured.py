"""The path of an operation on a CPU, timed when a class of shapes is first met, and remembered.

Which of several ways is fastest depends on the processor: on one a layer is faster through Winograd's products in
strips, on another through the library's own convolution, by a factor of two either way. They are timed on a small
part of the layer, some tens of milliseconds for a class of shapes, once for a machine (remembered.py says why); what
comes near the best there is timed again on the whole layer, whose tensors no cache holds. Where nothing can be
remembered nothing is timed, and a fixed rule decides.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping

import torch

from .remembered import choices_file, recall, remember
from .spare_cores import all_threads

log = logging.getLogger(__name__)

_BUDGET = 0.04  # seconds for a class, without its first runs
_MARGIN = 0.95  # the rule's path is left for one that is faster by more than a clock's error
_HOPELESS = 1.3
_ROUNDS = 5
_NEAR, _CLEAR = 1.25, 1.1  # shares of the best time: of paths that are timed on the whole layer, and of a clear result
_WHOLE_ROUNDS = 3

_choices: dict[str, str] = {}
_refused: list[str] = []
_lock = threading.RLock()


Runs = Mapping[str, Callable[[], object]]


def measured_path(
    key: tuple[Hashable, ...],
    paths: Collection[str],
    usual: str,
    make_runs: Callable[[], Runs],
    make_whole: Callable[[], Runs] | None = None,
) -> str:
    """Return the name of the path for a class of shapes.

    Args:
        key: of the class.
        paths: that can run it.
        usual: the one of them that a fixed rule would take.
        make_runs: makes a call of each path on a part of the layer; only asked where something has to be timed.
        make_whole: likewise on the whole layer; asked where paths come near each other. None: the part decides.
    """
    name = " ".join(map(str, key))
    known = _choices.get(name)
    if known is not None:
        return known
    if torch.compiler.is_compiling():
        return usual
    with _lock:
        if name not in _choices:
            _choices[name] = _decide(name, paths, usual, make_runs, make_whole)
        return _choices[name]


def choices() -> dict[str, str]:
    """Return what this process has chosen so far: class of shapes -> path."""
    return dict(_choices)


def _decide(
    name: str,
    paths: Collection[str],
    usual: str,
    make_runs: Callable[[], Runs],
    make_whole: Callable[[], Runs] | None,
) -> str:
    file = choices_file()
    if file is None or _refused:
        return usual
    choice = recall(file).get(name)
    if choice is None:
        choice = _quickest(name, usual, make_runs(), make_whole)
        try:
            choice = remember(file, name, choice).get(name)
        except OSError as error:
            _refused.append(str(error))
            log.info("The choice of kernels cannot be kept (%s); a fixed rule decides.", error)
            return usual
    return choice if choice in paths else usual


def _quickest(name: str, usual: str, runs: Runs, make_whole: Callable[[], Runs] | None = None) -> str:
    with all_threads():
        times = _times(runs)
        near = [path for path in times if times[path] <= _NEAR * min(times.values())]
        if len(near) > 1 and make_whole is not None:
            whole = make_whole()
            times = _whole_times({path: whole[path] for path in near})
    log.debug("%s: %s", name, {path: f"{1000 * seconds:.2f} ms" for path, seconds in times.items()})
    best = min(times, key=times.__getitem__)
    return best if usual not in times or times[best] < _MARGIN * times[usual] else usual


def _whole_times(runs: Runs) -> dict[str, float]:
    """Time whole layers in turns, best of a few rounds, one where that is clear."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(_WHOLE_ROUNDS):
        for path, run in runs.items():
            start = time.perf_counter()
            run()
            best[path] = min(best[path], time.perf_counter() - start)
        first, second = sorted(best.values())[:2]
        if second > _CLEAR * first:
            break
    return best


def _times(runs: Runs) -> dict[str, float]:
    """Time all in turns, best of a few rounds; what is far behind is not run again."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()  # arranges weights, and lets libraries prepare themselves
    begin = time.perf_counter()
    for _ in range(_ROUNDS):
        leader = min(best.values())
        for path, run in runs.items():
            if best[path] <= _HOPELESS * leader:
                start = time.perf_counter()
                run()
                best[path] = min(best[path], time.perf_counter() - start)
        if time.perf_counter() - begin > _BUDGET:
            break
    return best
