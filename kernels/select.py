"""Kernel selection: the one place that decides which implementation of an operation runs.

Every operation of this floor has a ``reference`` (plain torch, the arithmetic of the paper as written) and may have
faster paths. Plain torch: ``fast`` is arranged for weights shared by the whole batch, and good on the CPU and on
CUDA alike; ``tiled`` takes a whole layer with frozen weights through the CPU's cache strip by strip, and ``bands`` the
fast path band by band where no gradient is asked for; ``gpu`` are Triton kernels, for what lies on a CUDA device (see
gpu.py for when they run). ``auto`` takes what was measured to be fastest (measured.py, gpu.py); ``rule`` never times
anything, and chooses by shape alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

_PATHS = ("auto", "rule", "reference", "fast", "tiled", "bands", "gpu")
_ENVIRONMENT = "SEMANTIC_EDIT_KERNELS"
_override: list[str] = []


def chosen_path() -> str:
    """Return the path asked for: the innermost :func:`use_kernels`, else the environment variable, else ``auto``.

    Raises:
        ValueError: the variable names no path.
    """
    if _override:
        return _override[-1]
    path = os.environ.get(_ENVIRONMENT, "auto")
    if path not in _PATHS:
        raise ValueError(f"{_ENVIRONMENT} is '{path}'; expected one of {', '.join(_PATHS)}.")
    return path


@contextmanager
def use_kernels(path: str) -> Iterator[None]:
    """Run the enclosed code on one path: for tests, benchmarks and for hunting a numerical difference.

    Raises:
        ValueError: there is no path of that name.
    """
    if path not in _PATHS:
        raise ValueError(f"Unknown kernel path '{path}'; expected one of {', '.join(_PATHS)}.")
    _override.append(path)
    try:
        yield
    finally:
        _override.pop()


def choose(reference: Callable, fast: Callable, x: Tensor, gpu: Callable | None = None) -> Callable:
    """Pick the implementation for an input ``x``; ``gpu`` is not None only where its conditions hold.

    float64 is what the tests compare with, so it keeps the reference unless a path is named explicitly. An operation
    that lacks the path asked for takes the fast one.
    """
    path = chosen_path()
    if path == "reference" or (path in ("auto", "rule") and x.dtype.itemsize == 8):
        return reference
    return gpu if path in ("auto", "gpu") and gpu is not None else fast
