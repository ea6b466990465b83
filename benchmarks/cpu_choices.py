"""What pays on this processor: memory layout, pictures at once, threads, bfloat16.

Two sizes, so that a choice that wins at one alone is seen.

Every choice stands beside what the pack does by itself (float32, its own layout, all pictures of the batch at once),
in turns in one process; "times faster" above 1 means that the choice would be better than what is done.

    python benchmarks/cpu_choices.py [--sizes 128demo 256] [--batch 8] [--threads 1] [--repeats 3]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from _harness import interleaved, machine_facts, ratio, say, table
from semantic_edit.kernels import use_kernels
from semantic_edit.models import StyleGAN2, StyleGAN2Config
from semantic_edit.models.gan.synthesis_run import SynthesisOptions
from synthesis import DEMO_CHANNELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["128demo", "256"])
    parser.add_argument("--base", type=int, default=16384, help="channel base of the sizes that are not the demo's")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    say(f"{machine_facts()}; {options.threads} threads, batch {options.batch}\n")
    rows = []
    for size in options.sizes:
        runs = choices(network(size, options.base), options.batch, options.threads)
        times = interleaved(runs, options.repeats)
        for name, taken in times.items():
            won = ratio(times["as it is"], taken)
            rows.append((size, name, f"{1000 * taken.median / options.batch:.0f} ms", won, f"{won.cpu:.2f}"))
            say(" ".join(map(str, rows[-1])))
    say("\n" + table(("size", "choice", "a picture", "times faster (quartiles)", "by CPU time"), rows))


def network(size: str, base: int) -> StyleGAN2:
    """Random weights."""
    pixels = int(size.removesuffix("demo"))
    full = {2**k: min(base // 2**k, 512) for k in range(2, pixels.bit_length())}
    channels = tuple((DEMO_CHANNELS if size.endswith("demo") else full).values())
    return StyleGAN2(StyleGAN2Config(z_dim=512, w_dim=512, channels=channels)).requires_grad_(False).eval()


def choices(ours: StyleGAN2, batch: int, threads: int) -> dict[str, Callable[[], None]]:
    """Name -> a pass over the whole batch."""
    w = torch.randn(batch, ours.config.num_layers, 512, generator=torch.Generator().manual_seed(1))

    @torch.inference_mode()
    def run(at_once: int = batch, dtype: torch.dtype = torch.float32, path: str = "auto") -> None:
        with use_kernels(path):
            for part in w.split(at_once):
                ours.synthesis(part, SynthesisOptions(dtype=dtype))

    def contiguous() -> None:
        """The features of the first layer decide the layout of all that follow."""
        state = _contiguous_start(ours, w)
        with torch.inference_mode(), use_kernels("fast"):
            ours.synthesis(w, SynthesisOptions(resume=state))

    def with_threads(count: int) -> None:
        torch.set_num_threads(count)
        try:
            run()
        finally:
            torch.set_num_threads(threads)

    found = {"as it is": run}
    found |= {f"{n} at once": lambda n=n: run(n) for n in (1, 2, 4) if n < batch}
    found["without tiles"] = lambda: run(path="fast")
    found["without tiles, contiguous"] = contiguous
    found["bfloat16"] = lambda: run(dtype=torch.bfloat16)
    found[f"{3 - min(threads, 2)} threads"] = lambda: with_threads(3 - min(threads, 2))
    return found


@torch.inference_mode()
def _contiguous_start(ours: StyleGAN2, w: torch.Tensor):
    from dataclasses import replace

    state = ours.synthesis(w, SynthesisOptions(stop_layer=0)).state
    return replace(state, features=state.features.contiguous(memory_format=torch.contiguous_format))


if __name__ == "__main__":
    main()
