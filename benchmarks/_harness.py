"""What the benchmarks share: interleaved repeats, medians and ratios, facts about the machine, tables.

Candidates take turns within every repeat, so that a machine that slows down for a while slows all of them. Beside the
time on the wall stands the processor's, which other programs disturb less; a ratio is the median of the ratios of each
repeat's pair.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from semantic_edit.models.printable import write_line


@dataclass(frozen=True)
class Times:
    """Seconds of every repeat."""

    wall: list[float]
    cpu: list[float]  # of all threads of this process together

    @property
    def median(self) -> float:
        """Median wall time."""
        return median(self.wall)

    @property
    def best(self) -> float:
        """Shortest wall time."""
        return min(self.wall)


@dataclass(frozen=True)
class Ratio:
    """How many times faster the second candidate is than the first, repeat by repeat."""

    wall: float  # median of the pairs
    low: float  # quarter of the pairs are below
    high: float
    cpu: float  # median of the pairs' processor times
    best: float  # of the shortest wall times

    def __str__(self) -> str:
        return f"{self.wall:.2f} ({self.low:.2f}-{self.high:.2f})"


def say(text: str = "") -> None:
    """A line on standard output, at once."""
    write_line(sys.stdout, text)
    sys.stdout.flush()


def interleaved(candidates: dict[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, Times]:
    """Run every candidate ``warm_up`` times, then all of them in turn ``repeats`` times."""
    for run in candidates.values():
        for _ in range(warm_up):
            run()
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in candidates}
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            for name, run in candidates.items():
                wall, cpu = time.perf_counter(), time.process_time()
                run()
                taken[name][0].append(time.perf_counter() - wall)
                taken[name][1].append(time.process_time() - cpu)
    finally:
        gc.enable()
    return {name: Times(*pair) for name, pair in taken.items()}


def ratio(base: Times, mine: Times) -> Ratio:
    """base / mine."""
    pairs = sorted(b / m for b, m in zip(base.wall, mine.wall, strict=True))
    cpu = [b / m for b, m in zip(base.cpu, mine.cpu, strict=True)]
    quarter = len(pairs) // 4
    return Ratio(median(pairs), pairs[quarter], pairs[-1 - quarter], median(cpu), base.best / mine.best)


def graph_bytes(run: Callable[[], object]) -> int:
    """Bytes that autograd keeps for the backward pass while ``run`` makes its graph; leaves and shared memory once."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not (tensor.is_leaf and tensor.grad_fn is None and isinstance(tensor, torch.nn.Parameter)):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outcome = run()
    total = sum(kept.values())
    del outcome
    return total


def machine_facts() -> str:
    """One line: processor features, cores, versions, load."""
    features = []
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        flags = set(cpuinfo.read_text().split())
        features = [
            name for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("amx_tile", "AMX")) if flag in flags
        ]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} CPU cores ({', '.join(features[1:] or features) or platform.machine()}){device}; "
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}{load}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
