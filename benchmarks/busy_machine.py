"""Two threads beside another program that wants both cores: never slower than one.

A process of its own multiplies matrices on as many threads as there are cores. Beside it run one thread; two threads
as torch spreads them (SEMANTIC_EDIT_THREADS=fixed, the path `fast`); two threads as the pack spreads them; all in
turns. Drawing is `GanGenerator.synthesize`; a step is a gradient to the codes and Adam, as optimisations do it. It is
checked that results are the same bytes.

    python benchmarks/busy_machine.py [--networks demo 256] [--base 16384] [--batch 4] [--repeats 5] [--idle]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from _harness import interleaved, machine_facts, ratio, say, table
from precision import make, sampled
from semantic_edit.kernels import use_kernels
from semantic_edit.models.gan.generator import GanGenerator
from semantic_edit.models.inference import enable_training

OTHER = "import torch\na = torch.randn(1024, 1024)\nwhile True: a @ a"
HEAD = (
    "network",
    "work",
    "one thread, s",
    "two, as torch spreads them, s",
    "two, ours, s",
    "ours against one (quartiles)",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["demo", "256"])
    parser.add_argument("--base", type=int, default=16384)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--idle", action="store_true", help="without the other program")
    options = parser.parse_args()
    say(machine_facts() + (", nothing beside it\n" if options.idle else ", one more program on all cores\n"))
    other = None if options.idle else subprocess.Popen([sys.executable, "-c", OTHER])  # noqa: S603
    try:
        rows = [row for size in options.networks for row in measure(size, options)]
    finally:
        if other is not None:
            other.kill()
            other.wait()
    say(table(HEAD, rows))


def measure(size: str, options: argparse.Namespace) -> list[tuple]:
    generator = make(size, options.base)
    codes = sampled(generator, options.batch)
    return [compare(size, name, work, options.repeats) for name, work in works(generator, codes).items()]


def works(generator: GanGenerator, codes: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    def draw() -> torch.Tensor:
        with torch.inference_mode():
            return generator.synthesize(codes)

    def steps() -> torch.Tensor:
        with enable_training():
            leaf = codes.clone().requires_grad_()
            adam = torch.optim.Adam([leaf], lr=0.01)
            for _ in range(3):
                adam.zero_grad()
                generator.network.synthesis(leaf).image.square().mean(dim=(1, 2, 3)).sum().backward()
                adam.step()
            return leaf.detach()

    return {"drawing": draw, "3 steps": steps}


def compare(size: str, name: str, work: Callable[[], torch.Tensor], repeats: int) -> tuple:
    results: dict[str, list[torch.Tensor]] = {}

    def run(label: str, threads: int, fixed: bool, path: str) -> None:
        torch.set_num_threads(threads)
        os.environ["SEMANTIC_EDIT_THREADS"] = "fixed" if fixed else ""
        with use_kernels(path):
            results.setdefault(label, []).append(work())

    times = interleaved(
        {
            "one": lambda: run("one", 1, True, "auto"),
            "torch": lambda: run("torch", 2, True, "fast"),
            "ours": lambda: run("ours", 2, False, "auto"),
        },
        repeats,
    )
    same = all(torch.equal(results["ours"][0], other) for other in results["ours"])
    say(f"{size} {name}: {len(results['ours'])} runs of two threads gave {'the same' if same else 'DIFFERENT'} bytes")
    seconds = (f"{times[label].median:.2f}" for label in ("one", "torch", "ours"))
    return (size, name, *seconds, ratio(times["one"], times["ours"]))


if __name__ == "__main__":
    begin = time.monotonic()
    main()
    say(f"\n{time.monotonic() - begin:.0f} s")
