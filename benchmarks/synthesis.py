"""Synthesis on the CPU beside NVlabs' own code, in one process and in turns: forward, and forward with gradient to w.

The reference is a checkout of NVlabs/stylegan2-ada-pytorch, run as its authors run it on a CPU (its reference
operations; weights per sample by grouped convolution). Its package dnnlib needs `requests` installed. Both networks
hold the same random weights; biases and noise strengths are random too. The largest difference of the two pictures is
printed beside the times. "ours" is the automatic choice; every path of its own stands beside it, and how much slower it
is than the best of them.

python benchmarks/synthesis.py --reference-path CHECKOUT [--sizes 128demo 256 512] [--batches 1 4] [--threads 1 2]
    [--repeats 7] [--backward]
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from _harness import graph_bytes, interleaved, machine_facts, ratio, say, table
from semantic_edit.kernels import use_kernels
from semantic_edit.models import StyleGAN2, StyleGAN2Config

DEMO_CHANNELS = {4: 160, 8: 160, 16: 160, 32: 96, 64: 48, 128: 24}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-path", type=Path, default=os.environ.get("NVLABS_PATH"))
    parser.add_argument(
        "--sizes", nargs="+", default=["256"], help="pixels; 128demo is as narrow as the demo generator"
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--backward", action="store_true", help="also the gradient to w, weights frozen")
    options = parser.parse_args()
    if not options.reference_path:
        parser.error("Give a checkout of NVlabs/stylegan2-ada-pytorch as --reference-path or in NVLABS_PATH.")
    say(machine_facts())
    rows = []
    for size in options.sizes:
        reference, ours = networks(Path(options.reference_path), size)
        for batch in options.batches:
            w = torch.randn(batch, ours.config.num_layers, 512, generator=torch.Generator().manual_seed(1))
            for threads in options.threads:
                torch.set_num_threads(threads)
                rows.append(compare("forward", size, w, threads, forward(reference, ours, w), options.repeats))
                say(" ".join(map(str, rows[-1])))
                if options.backward:
                    runs = backward(reference, ours, w)
                    rows.append(compare("and gradient", size, w, threads, runs, options.repeats))
                    say(" ".join(map(str, rows[-1])))
            say(f"{size} px, batch {batch}: largest difference {difference(reference, ours, w):.1e}")
            if options.backward:
                kept = [graph_bytes(run) / 2**20 for run in graphs(reference, ours, w)]
                say(
                    f"{size} px, batch {batch}: graph {kept[0]:.0f} MB, ours {kept[1]:.0f} MB, {kept[0] / kept[1]:.1f}x"
                )
    say()
    say(table(HEAD, rows))


PATHS = ("fast", "tiled", "bands")  # beside "ours", which chooses among them layer by layer
HEAD = (
    "pass", "size", "batch", "threads", "NVlabs s", "ours s", "times faster (quartiles)", "by CPU time",
    *(f"{path} s" for path in PATHS), "ours / best path, by time / by CPU time",
)  # fmt: skip


def compare(what: str, size: str, w: torch.Tensor, threads: int, runs: dict[str, Callable], repeats: int) -> tuple:
    times = interleaved(runs, repeats)
    won = ratio(times["reference"], times["ours"])
    seconds = {name: taken.median for name, taken in times.items()}
    others = [ratio(times[path], times["ours"]) for path in PATHS if path in times]
    best = f"{1 / min(other.wall for other in others):.2f} / {1 / min(other.cpu for other in others):.2f}"
    return (
        what, size, len(w), threads, f"{seconds['reference']:.3f}", f"{seconds['ours']:.3f}", won, f"{won.cpu:.2f}",
        *(f"{seconds[path]:.3f}" if path in seconds else "" for path in PATHS), best,
    )  # fmt: skip


def forward(reference: torch.nn.Module, ours: StyleGAN2, w: torch.Tensor) -> dict[str, Callable]:
    @torch.inference_mode()
    def theirs() -> None:
        reference.synthesis(w, noise_mode="const")

    @torch.inference_mode()
    def mine(path: str) -> None:
        with use_kernels(path):
            ours.synthesis(w)

    return {"reference": theirs, "ours": lambda: mine("auto"), **{path: partial(mine, path) for path in PATHS}}


def graphs(reference: torch.nn.Module, ours: StyleGAN2, w: torch.Tensor) -> tuple[Callable, Callable]:
    def theirs() -> torch.Tensor:
        return reference.synthesis(w.clone().requires_grad_(), noise_mode="const").square().mean()

    def mine() -> torch.Tensor:
        return ours.synthesis(w.clone().requires_grad_()).image.square().mean()

    return theirs, mine


def backward(reference: torch.nn.Module, ours: StyleGAN2, w: torch.Tensor) -> dict[str, Callable]:
    theirs, mine = graphs(reference, ours, w)

    def run(path: str) -> None:
        with use_kernels(path):
            mine().backward()

    # Bands are for pictures without a gradient.
    own = {path: partial(run, path) for path in PATHS if path != "bands"}
    return {"reference": lambda: theirs().backward(), "ours": lambda: run("auto"), **own}


@torch.no_grad()
def difference(reference: torch.nn.Module, ours: StyleGAN2, w: torch.Tensor) -> float:
    return float((reference.synthesis(w, noise_mode="const") - ours.synthesis(w).image).abs().max())


def networks(checkout: Path, size: str, base: int = 32768) -> tuple[torch.nn.Module, StyleGAN2]:
    """NVlabs' network of ``size`` and ours with its weights, both frozen; ``base`` / pixels wide (at most 512), or as
    narrow as the demo's."""
    if not (checkout / "training" / "networks.py").is_file():
        raise SystemExit(f"{checkout} is no checkout of stylegan2-ada-pytorch: training/networks.py is missing.")
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    warnings.filterwarnings("ignore", module="training|torch_utils|dnnlib")
    from training.networks import Generator

    pixels = int(size.removesuffix("demo"))
    full = {2**k: min(base // 2**k, 512) for k in range(2, pixels.bit_length())}
    channels = DEMO_CHANNELS if size.endswith("demo") else full
    torch.manual_seed(0)
    wide = {"channel_base": base}
    reference = Generator(512, 0, 512, img_resolution=pixels, img_channels=3, synthesis_kwargs=wide).eval()
    reference.requires_grad_(False)
    if size.endswith("demo"):
        narrow(reference, channels)
    for name, parameter in reference.named_parameters():
        if name.endswith(("noise_strength", "bias")) and "affine" not in name:
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    ours = StyleGAN2(StyleGAN2Config(z_dim=512, w_dim=512, channels=tuple(channels.values())))
    ours.load_state_dict(reference.state_dict())
    return reference, ours.requires_grad_(False).eval()


def narrow(reference: torch.nn.Module, channels: dict[int, int]) -> None:
    """Rebuild the blocks of NVlabs' network with other widths; its constructor knows powers of two only."""
    from training.networks import SynthesisBlock

    before = 0
    for resolution, width in channels.items():
        old = getattr(reference.synthesis, f"b{resolution}")
        block = SynthesisBlock(
            before, width, w_dim=512, resolution=resolution, img_channels=3, is_last=old.is_last, architecture="skip"
        )
        setattr(reference.synthesis, f"b{resolution}", block.requires_grad_(False).eval())
        before = width


if __name__ == "__main__":
    main()
