"""The direction optimisation that was released with Edit One for All beside ours: time, memory, steps to an error.

The released loop is written again here, from reading it, and runs on NVlabs' own network (a checkout of
stylegan2-ada-pytorch, see synthesis.py): the weights take gradients, the target picture has a graph, the mapping runs
at every step, pictures are finished. Ours is `optimize_direction`
with its quasi-Newton search, a step being one look at all pictures and its gradient. Both hold the same random weights,
with random biases and noise strengths, and look for the same edit. Each measurement has a process of its own; memory is
the process's peak above what it held with the models loaded.

The image error of a found direction is the squared difference that is left between pictures moved by the edit and by
the direction, relative to that of no direction, over codes that neither loop has seen, in finished pictures. Both start
at 0: from the edit itself, where the released button starts, there is no image error to begin with.

python benchmarks/released_loop.py --reference-path CHECKOUT [--pixels 256] [--width 16384] [--batch 16]
    [--released-steps 3] [--curve-pixels 64] [--curve-steps 15 60 150] [--no-curve]
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import torch
from _harness import machine_facts, say, table
from semantic_edit.editing.one_for_all.directions import LEARNING_RATE, REGULARISATION, TRUNCATION, optimize_direction
from semantic_edit.models.gan.generator import GanGenerator
from synthesis import networks

ROWS = 6  # that the edit changes, as released
EDIT_NORM = 8.4  # of a real drag in the published example
HELD_OUT = 8
HEAD = ("loop", "time per step", "processor's", "peak above the model", "faster", "by processor", "less memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-path", type=Path, default=os.environ.get("NVLABS_PATH"))
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--width", type=int, default=16384, help="channels times pixels; NVlabs' own choice for 256 px")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--released-steps", type=int, default=3, help="timed steps of the slow one")
    parser.add_argument("--our-steps", type=int, default=6)
    parser.add_argument("--stops", type=int, nargs="*", default=[64], help="heights at which ours may stop, px")
    parser.add_argument("--curve-pixels", type=int, default=64)
    parser.add_argument("--curve-width", type=int, default=2048)
    parser.add_argument("--curve-batch", type=int, default=16)
    parser.add_argument("--curve-stop", type=int, default=None)
    parser.add_argument("--curve-steps", type=int, nargs="+", default=[15, 60, 150])
    parser.add_argument("--our-curve-steps", type=int, nargs="+", default=[5, 10, 15])
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--no-curve", action="store_true")
    options = parser.parse_args()
    if not options.reference_path:
        parser.error("Give a checkout of NVlabs/stylegan2-ada-pytorch as --reference-path or in NVLABS_PATH.")
    say(machine_facts())
    if not options.no_speed:
        speed(options)
    if not options.no_curve:
        curves(options)


def speed(options: argparse.Namespace) -> None:
    """Seconds per step and peak memory."""
    base = (str(options.reference_path), options.pixels, options.width, options.batch)
    rows, slow = [], None
    for what, stop in [("released", None), ("ours", None), *(("ours", stop) for stop in options.stops)]:
        steps = options.released_steps if what == "released" else options.our_steps
        seconds, processor, memory = apart(timed, what, *base, steps, stop)
        slow = slow or (seconds, processor, memory)
        where = "whole" if stop is None else f"stops at {stop} px"
        ratios = (f"{slow[0] / seconds:.1f}", f"{slow[1] / processor:.1f}", f"{slow[2] / memory:.1f}")
        figures = (f"{seconds:.2f} s", f"{processor:.2f} s", f"{memory / 2**30:.2f} GiB")
        rows.append((f"{what}, {where}", *figures, *ratios))
        say(" | ".join(rows[-1]))
    say()
    say(f"{options.pixels} px, batch {options.batch}")
    say(table(HEAD, rows))
    say()


def curves(options: argparse.Namespace) -> None:
    """Image error after so many steps."""
    base = (str(options.reference_path), options.curve_pixels, options.curve_width, options.curve_batch)
    rows = []
    for steps, error in apart(released_curve, *base, options.curve_steps):
        rows.append(("released", steps, f"{error:.4f}"))
        say(" | ".join(map(str, rows[-1])))
    for stop in dict.fromkeys([None, options.curve_stop]):
        for steps in options.our_curve_steps:
            error = apart(our_error, *base, steps, stop)
            where = "whole" if stop is None else f"stops at {stop} px"
            rows.append((f"ours, {where}", steps, f"{error:.4f}"))
            say(" | ".join(map(str, rows[-1])))
    say()
    say(f"{options.curve_pixels} px, batch {options.curve_batch}")
    say(table(("loop", "steps", "image error"), rows))


def apart(function, *arguments):
    """The function's result, from a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def timed(
    what: str, checkout: str, pixels: int, width: int, batch: int, steps: int, stop: int | None
) -> tuple[float, float, int]:
    """Median seconds and processor seconds per step without the first; bytes of peak memory above the loaded models."""
    reference, ours = networks(Path(checkout), str(pixels), width)
    edit = example(ours)[1] - example(ours)[0]
    held = reset_peak()
    if what == "released":
        stamps = [now()]
        for _ in released(reference, edit, batch, steps):
            stamps.append(now())
    else:
        generator = GanGenerator(ours, "benchmark")
        start, edited = example(ours)
        stamps = [now()]
        optimize_direction(
            generator, start, edited, "text", steps=steps, batch=batch, stop_resolution=stop,
            search="quasi-newton", progress=lambda *_: stamps.append(now()),
        )  # fmt: skip
    memory = peak() - held
    taken = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(stamps[:-1], stamps[1:], strict=True)]
    wall, processor = zip(*(taken[1:] or taken), strict=True)
    return median(wall), median(processor), memory


def now() -> tuple[float, float]:
    """The time on the wall, and the processor's of all threads."""
    return time.perf_counter(), time.process_time()


def released(network: torch.nn.Module, edit: torch.Tensor, batch: int, steps: int, seed: int = 0):
    """The released loop for a batch, from 0: yields the direction [1, L, D] after each step."""
    network.requires_grad_(True).train()  # a network that was built afresh, as theirs is
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(batch, network.z_dim, generator=rng)
    found = torch.zeros_like(edit[None]).requires_grad_(True)
    optimizer = torch.optim.AdamW([found], lr=LEARNING_RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        w = network.mapping(z, None, truncation_psi=TRUNCATION)
        alpha, other = (torch.rand(batch, 1, 1, generator=rng) * 2 - 1 for _ in range(2))
        pictures = []
        for direction in (edit[None], found):
            moved = w + alpha * direction
            moved = torch.cat([moved[:, :ROWS], w[:, ROWS:]], dim=1)
            pictures.append(network.synthesis(moved, noise_mode="const"))
        loss = torch.nn.functional.mse_loss(*pictures)
        projection = (moved_all(w, alpha, found) * found).flatten(1).sum(dim=1).detach()
        wanted = (found * other).flatten(1).norm(dim=1) ** 2
        loss = loss + REGULARISATION * torch.nn.functional.l1_loss(projection, wanted)
        loss.backward()
        optimizer.step()
        yield found.detach()


def moved_all(w: torch.Tensor, alpha: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """The moved codes with every row, over which the released projection runs."""
    return w + alpha * found


def released_curve(checkout: str, pixels: int, width: int, batch: int, marks: list[int]) -> list[tuple[int, float]]:
    """(steps, image error) of the released loop."""
    reference, ours = networks(Path(checkout), str(pixels), width)
    start, edited = example(ours)
    found = []
    for step, direction in enumerate(released(reference, edited - start, batch, max(marks)), start=1):
        if step in marks:
            found.append((step, image_error(ours, edited - start, direction[0])))
    return found


def our_error(checkout: str, pixels: int, width: int, batch: int, steps: int, stop: int | None) -> float:
    """Image error of ours."""
    _, ours = networks(Path(checkout), str(pixels), width)
    start, edited = example(ours)
    direction = optimize_direction(
        GanGenerator(ours, "benchmark"), start, edited, "text",
        steps=steps, batch=batch, stop_resolution=stop, search="quasi-newton",
    )  # fmt: skip
    return image_error(ours, edited - start, direction.direction)


@torch.no_grad()
def example(network) -> tuple[torch.Tensor, torch.Tensor]:
    """A code and its edit [L, D]: toward another person on the first rows, as far as a real edit goes."""
    z = torch.randn(2, network.config.z_dim, generator=torch.Generator().manual_seed(5))
    start, other = network.mapping(z)
    edit = torch.zeros(network.config.num_layers, network.config.w_dim)
    edit[:ROWS] = other - start
    start = start.expand_as(edit).clone()
    return start, start + edit * (EDIT_NORM / edit.norm())


@torch.no_grad()
def image_error(network, edit: torch.Tensor, found: torch.Tensor) -> float:
    """What is left of the picture's change, relative to all of it, over held-out codes."""
    rng = torch.Generator().manual_seed(99)
    w = network.mapping(torch.randn(HELD_OUT, network.config.z_dim, generator=rng)) * TRUNCATION
    alpha = torch.linspace(-1, 1, HELD_OUT)[:, None, None]
    inside = torch.zeros_like(edit)
    inside[:ROWS] = 1
    plain, wanted, seen = (
        network.synthesis(w[:, None] + alpha * move * inside).image for move in (torch.zeros_like(edit), edit, found)
    )
    return float((seen - wanted).square().mean() / (plain - wanted).square().mean())


def reset_peak() -> int:
    """Forget the peak so far (Linux) and return the bytes held now."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        say("The peak of memory cannot be reset here; the figure includes building the models.")
    return _status("VmRSS")


def peak() -> int:
    """Bytes of the largest resident memory since `reset_peak`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main()
