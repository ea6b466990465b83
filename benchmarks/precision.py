"""Half precision in the four highest resolutions: how far pictures differ, what an edit's spread does, and speed.

Pictures of the same codes in float32 and in each other precision that this machine computes in (in values of -1..1, and
as PSNR); the demo generator's own pictures, and networks of random weights at NVlabs' widths. The spread of an edit is
the standard deviation of the edited attribute over portraits after / before, by the oracle, when one direction is
applied with the strengths of float32. NVlabs' own setting (num_fp16_res 4, conv_clamp 256) is run beside it with
--reference-path, where the machine can.

    python benchmarks/precision.py [--sizes 256 1024] [--base 32768] [--batches 1 4] [--threads 1] [--repeats 5]
        [--portraits 64] [--reference-path CHECKOUT]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from _harness import interleaved, machine_facts, ratio, say, table
from semantic_edit.models import StyleGAN2, StyleGAN2Config, load_generator
from semantic_edit.models.gan.generator import GanGenerator
from semantic_edit.models.gan.precision import PRECISIONS, half_dtype
from synthesis import networks

DEMO = Path(__file__).resolve().parents[1] / "models" / "demo"
HEAD = ("network", "precision", "batch", "threads", "seconds", "times faster (quartiles)",
        "largest difference", "mean difference", "PSNR, dB")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=["256", "1024"])
    parser.add_argument("--base", type=int, default=32768, help="channel base: width x pixels")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--reference-path", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    halves = [name for name in PRECISIONS[1:] if name != "float32" and half_dtype(name, device) is not None]
    say(machine_facts())
    say(f"This {device.type} computes in {', '.join(['float32', *halves])}.\n")
    rows = []
    for size in ["demo", *options.sizes]:
        generator = make(size, options.base).to(device)
        for batch in options.batches:
            codes = sampled(generator, batch)
            for threads in options.threads:
                torch.set_num_threads(threads)
                rows += compare(generator, size, codes, halves, threads, options.repeats)
                say("\n".join(" ".join(map(str, row)) for row in rows[-1 - len(halves) :]))
    say("\n" + table(HEAD, rows) + "\n")
    say(table(("attribute", "precision", "spread after / before"), spreads(halves, options.portraits)))
    if options.reference_path:
        say("\n" + published(options.reference_path, device))


def make(size: str, base: int) -> GanGenerator:
    """The demo generator, or random weights at NVlabs' widths."""
    if size == "demo":
        return load_generator(DEMO / "generators" / "demo_portraits.safetensors", precision="float32")
    widths = tuple(min(base // 2**k, 512) for k in range(2, int(size).bit_length()))
    network = StyleGAN2(StyleGAN2Config(z_dim=512, w_dim=512, channels=widths)).requires_grad_(False).eval()
    return GanGenerator(network, "random")


def sampled(generator: GanGenerator, batch: int) -> torch.Tensor:
    """[B, L, D]."""
    z = torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(1))
    return generator.map(z, truncation=0.7)


def drawn(generator: GanGenerator, codes: torch.Tensor, precision: str) -> torch.Tensor:
    """[B, 3, H, W] on the CPU."""
    generator.network.synthesis.precision = precision
    with torch.inference_mode():
        return generator.synthesize(codes).cpu()


def compare(
    generator: GanGenerator, size: str, codes: torch.Tensor, halves: list[str], threads: int, repeats: int
) -> list[tuple]:
    """A row for float32 and for each other precision."""
    runs: dict[str, Callable] = {name: lambda name=name: drawn(generator, codes, name) for name in ("float32", *halves)}
    times = interleaved(runs, repeats)
    exact, rows = runs["float32"](), []
    label = "demo, 128 px" if size == "demo" else f"random, {size} px"
    for name, run in runs.items():
        apart = (run() - exact).double()
        rows.append(
            (
                label, name, len(codes), threads, f"{times[name].median:.3f}", ratio(times["float32"], times[name]),
                f"{float(apart.abs().max()):.2g}", f"{float(apart.abs().mean()):.2g}", psnr(apart, exact),
            )
        )  # fmt: skip
    return rows


def psnr(apart: torch.Tensor, exact: torch.Tensor) -> str:
    """Of a difference beside a picture's own range; demo pictures fill -1..1."""
    error = float(apart.square().mean())
    peak = max(2.0, float(exact.max() - exact.min()))
    return "" if error == 0 else f"{10 * torch.log10(torch.tensor(peak**2 / error)):.1f}"


def spreads(halves: list[str], portraits: int) -> list[tuple]:
    """One example's edit brought to all in closed form; spread of the attribute by the oracle for each precision."""
    from semantic_edit.demo import measure
    from semantic_edit.editing import apply_edit, compute_strength, record_edit
    from semantic_edit.editing.one_for_all.attributes import fit_to_generator, slide_attribute
    from semantic_edit.models.files.direction import read_direction

    generator, rows = make("demo", 0), []
    z = torch.randn(portraits + 1, generator.z_dim, generator=torch.Generator().manual_seed(2))
    example, codes = generator.map(z).split([1, portraits])
    for slider, attribute in (("smile", "smile"), ("turn_head", "yaw"), ("open_mouth", "mouth_open")):
        values = read_direction(DEMO / "directions" / f"{slider}.safetensors")
        direction = fit_to_generator(generator, **{**values, "name": slider})
        edited = slide_attribute(example, direction, 1.5)
        edit = record_edit(generator, example[0], edited[0], measured_by=direction)
        moved = apply_edit(codes, edit, compute_strength(edit, codes))
        for name in ("float32", *halves):
            before, after = (measure(drawn(generator, w, name))[attribute] for w in (codes, moved))
            rows.append((attribute, name, f"{float(after.std() / before.std()):.4f}"))
    return rows


def published(checkout: Path, device: torch.device) -> str:
    """NVlabs' network in its own half precision beside its float32: seconds and differences, or why it does not run."""
    reference, _ = networks(checkout, "256")
    for name in ("b32", "b64", "b128", "b256"):
        block = getattr(reference.synthesis, name)
        block.use_fp16 = True
        for layer in (block.conv0, block.conv1, block.torgb):
            layer.conv_clamp = 256
    reference.to(device)
    w = torch.randn(1, 14, 512, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.inference_mode():
        exact = reference.synthesis(w, noise_mode="const", force_fp32=True)
        try:
            half = reference.synthesis(w, noise_mode="const")
        except (RuntimeError, NotImplementedError) as problem:
            return f"NVlabs' half precision does not run on this {device.type}: {str(problem).splitlines()[0]}"
        runs = {
            "float32": lambda: reference.synthesis(w, noise_mode="const", force_fp32=True),
            "float16": lambda: reference.synthesis(w, noise_mode="const"),
        }
        times = interleaved(runs, 3)
    apart = (half.float() - exact).abs()
    return (
        f"NVlabs' own float16, 256 px, batch 1 on this {device.type}: {times['float16'].median:.3f} s beside "
        f"{times['float32'].median:.3f} s in float32; largest difference {float(apart.max()):.2g}, mean "
        f"{float(apart.mean()):.2g}."
    )


if __name__ == "__main__":
    main()
