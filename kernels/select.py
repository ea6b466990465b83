"""Kernel selection: the one place that decides which implementation of an operation runs.

Every operation of this floor has a ``reference`` (plain torch, the arithmetic of the paper as written) and may have
faster paths. Plain torch: ``fast`` is arranged for weights shared by the whole batch, and good on the CPU and on
CUDA alike; ``tiled`` takes a whole layer with frozen weights through the CPU's cache strip by strip; ``gpu`` are Triton
kernels, for what lies on a CUDA device (see gpu.py for when they run).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

_PATHS = ("auto", "reference", "fast", "tiled", "gpu")
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


def choose(
    reference: Callable, fast: Callable, x: Tensor, tiled: Callable | None = None, gpu: Callable | None = None
) -> Callable:
    """Pick the implementation for an input ``x``; ``tiled`` and ``gpu`` are not None only where their conditions hold.

    float64 is what the tests compare with, so it keeps the reference unless a path is named explicitly. An operation
    that lacks the path asked for takes the next one down: gpu or tiled, fast, reference.
    """
    path = chosen_path()
    if path == "reference" or (path == "auto" and x.dtype.itemsize == 8):
        return reference
    if path in ("auto", "gpu") and gpu is not None:
        return gpu
    if path in ("auto", "tiled") and tiled is not None:
        return tiled
    return fast
