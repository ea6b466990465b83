"""What a node still holds after it has run: memory that grows with every run is lost until the program ends.

The shipped workflows run once with few steps, as in wrong_inputs.py, and what each node was given is kept. Then each
node runs again and again with the same inputs and another seed. Two runs fill the caches; after two times as many more,
the bytes of all tensors that live are compared. A bounded cache may fill a little; a node that keeps more than --bound
MiB a run ends the program with status 1.

python benchmarks/kept_memory.py [--only Node ...] [--runs 4] [--bound 4]
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from _harness import say
from semantic_edit.headless.host.headless_host import HeadlessSettings, use_headless
from wrong_inputs import Given, Watch, collected, tried

MIB = 2**20
SECONDS = 120.0


def living() -> tuple[int, int]:
    """(tensors, bytes of their storages, each counted once) that Python can still reach."""
    gc.collect()
    tensors = [each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors if plain(each)}
    return len(tensors), sum(storages.values())


def plain(tensor: torch.Tensor) -> bool:
    """Whether it has memory of its own."""
    return tensor.layout == torch.strided and tensor.device.type != "meta"


def again(given: Given, seed: int, watch: Watch) -> str:
    """How a run ends, with another seed where there is one."""
    inputs = dict(given.inputs)
    if "seed" in inputs and isinstance(inputs["seed"][0], int):
        inputs["seed"] = [seed]
    return tried(given, inputs, watch, SECONDS)[0]


def main() -> int:
    """Prints a line for each node; 0 when none keeps more than the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--runs", type=int, default=4, help="counted ones, after two that fill caches")
    parser.add_argument("--bound", type=float, default=4.0, help="MiB a run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failed, looked_at = [], 0
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch()
        headless = watch.headless = use_headless(HeadlessSettings(output=Path(folder), device="cpu", bar=watch))
        calls, _ = collected(headless)
        for node_id, given in sorted(calls.items()):
            name = node_id.removeprefix("SemanticEdit")
            if options.only and not {name, node_id} & set(options.only):
                continue
            looked_at += 1
            ends = {again(given, seed, watch) for seed in (1000, 1001)}
            count, held = living()
            ends |= {again(given, seed, watch) for seed in range(1002, 1002 + options.runs)}
            more, holds = living()
            kept = (holds - held) / MIB / max(options.runs, 1)
            tensors = (more - count) / max(options.runs, 1)
            say(f"{name}: {', '.join(sorted(ends))}; {kept:+.2f} MiB and {tensors:+.1f} tensors a run")
            if kept > options.bound or ends != {"worked"}:
                failed.append(name)
    say(f"{looked_at} nodes" + (f"; look at {', '.join(failed)}" if failed else ", none keeps what it should not"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
