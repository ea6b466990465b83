"""Where each method's time goes: CPU seconds of a step, and the share that bare networks would need.

The floor is the passes that a step cannot do without (the synthesis forward and back, the diffusion network, ...), run
bare, in turns with the method in the same process. Work around the steps (what is prepared once, and reported at the
end) stands in a column of its own. With --before another checkout of this package runs too, again in turns; the ratio
is how many times faster a step, and the whole call, have become.

    python benchmarks/methods.py [--only METHOD ...] [--sizes demo 256] [--repeats 3] [--before CHECKOUT]
                                 [--base 16384] [--threads 1] [--profile]

At 256 px the weights are random; the demo diffusion model then gets a latent of that size. --profile lists, for each
method, what its time is spent in instead.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from statistics import median

import torch
from _harness import machine_facts, say, table
from _methods import METHODS, Case, Package, World

HEAD = ("method", "size", "a step, s", "its floor, s", "share", "once, s", "a step: times faster", "a whole call")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--sizes", nargs="+", choices=("demo", "256"), default=["demo", "256"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, help="another checkout of this package")
    parser.add_argument("--base", type=int, default=16384, help="channel base of the network of 256 px")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    say(f"{machine_facts()}; {options.threads} thread(s)\n")
    packages = {"ours": Package()}
    packages["ours"]("models.loading.torchvision_stubs", "allow_declaring")()
    if options.before is not None:
        packages["before"] = Package("semantic_edit_before", options.before.resolve())
    rows, passes = [], {}
    for size in options.sizes:
        worlds = {name: World(package, size, options.base) for name, package in packages.items()}
        for method in options.only:
            cases = {name: METHODS[method](world) for name, world in worlds.items()}
            if cases["ours"] is None:
                continue
            if options.profile:
                profiled(f"{method}, {size}", cases["ours"])
                continue
            passes.setdefault(method, cases["ours"].passes)
            rows.append((method, size, *measured(cases, options.repeats)))
            say(" | ".join(rows[-1]))
    if rows:
        say("\n" + table(HEAD, rows) + "\n")
        say("Floors: " + "; ".join(f"{method}: {words}" for method, words in passes.items()) + ".")


def measured(cases: dict[str, Case], repeats: int) -> tuple[str, ...]:
    """The cells of a row."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    floors = []
    for case in cases.values():
        timed(case)
    cases["ours"].floor()
    gc.collect()
    for _ in range(repeats):
        began = time.process_time()
        cases["ours"].floor()
        floors.append((time.process_time() - began) / cases["ours"].covers)
        for name, case in cases.items():
            taken[name].append(timed(case))
    step, whole = (median(values) for values in zip(*taken["ours"], strict=True))
    count, floor = max(cases["ours"].steps, 1), median(floors)
    shares = sorted(bare / each for bare, (each, _) in zip(floors, taken["ours"], strict=True))
    once = f"{max(whole - count * step, 0):.3f}" if cases["ours"].steps else ""
    found = [f"{step:.4f}", f"{floor:.4f}", f"{median(shares):.0%}", once]
    if "before" not in taken:
        return (*found, "", "")
    pairs = list(zip(taken["before"], taken["ours"], strict=True))
    ratios = [sorted(old[which] / new[which] for old, new in pairs) for which in (0, 1)]
    return (*found, *(f"{median(some):.2f} ({some[0]:.2f}-{some[-1]:.2f})" for some in ratios))


def timed(case: Case) -> tuple[float, float]:
    """CPU seconds of a step (of those after the first, where there are several), and of the whole call."""
    stamps: list[tuple[float, bool]] = []

    def told(step: int, total: int, preview: object = None) -> None:
        if step:  # 0: a sign of life while something is prepared
            stamps.append((time.process_time(), preview is not None))

    began = time.process_time()
    case.run(told)
    whole = time.process_time() - began
    if not case.steps:
        return whole, whole
    taken = [(after - before, shows) for (before, _), (after, shows) in zip(stamps[:-1], stamps[1:], strict=True)]
    plain = [each for each, shows in taken if not shows] or [each for each, _ in taken]
    return sum(plain) / len(plain), whole


def profiled(what: str, case: Case) -> None:
    """torch's own list of operations, by what they take themselves."""
    case.run(lambda *_: None)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        case.run(lambda *_: None)
    say(f"## {what}")
    say(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=22, max_name_column_width=40))


if __name__ == "__main__":
    main()
