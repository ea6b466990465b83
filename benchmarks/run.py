"""The suite: every benchmark that fits this machine, with one command.

    kernels     each operation's chosen path beside its reference, forward and with gradients, and the floor
    synthesis   whole pictures beside NVlabs' code (a checkout: --reference-path or NVLABS_PATH), else beside our own
                reference path, and the floor
    growth      time and memory over batch, size and folder (benchmarks/growth.py)
    scripts     the other scripts of this folder, each in a process of its own; what they print is kept as a file

Ratios are medians of pairs measured in turns, with their quartiles. The floor (_floor.py) is the time that the counted
operations or bytes need at the rates this machine reaches in the same run; the fraction of it reached stands beside.
Results go to --out: suite.json, suite.png, growth.png, and NAME.txt for each script; with --pages also to the pages
of benchmarks/results/.

    python -m benchmarks [--quick] [--only kernels synthesis ...] [--device cpu] [--dtype float32] [--threads 1]
                         [--pages] [--out output/benchmarks]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _floor import Cost, Rates, convolution, in_bytes, measured_rates, synchronize, synthesis, with_gradient
from _harness import Times, interleaved, machine_facts, ratio, say, table
from _pages import write_page
from _plots import bars
from semantic_edit.kernels import (
    PreparedWeight,
    bias_act,
    blend_features,
    gpu,
    modulated_conv2d,
    setup_filter,
    upfirdn2d,
    use_kernels,
)
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

HERE = Path(__file__).resolve().parent
FIR = setup_filter((1, 3, 3, 1))
# (inputs, outputs, side of the input, up)
LAYERS = [
    (512, 512, 16, 1), (512, 512, 32, 1), (512, 512, 64, 1), (256, 256, 128, 1), (128, 128, 256, 1),
    (512, 512, 32, 2), (512, 256, 64, 2), (256, 128, 128, 2), (48, 48, 64, 1), (24, 24, 128, 1), (48, 24, 64, 2),
]  # fmt: skip
QUICK_LAYERS = [(32, 32, 16, 1), (32, 16, 16, 2), (8, 8, 32, 1)]
# name -> (quick arguments, full arguments); None: not in that mode. A name in braces is a path that has to be given.
SCRIPTS: dict[str, tuple[list[str] | None, list[str] | None]] = {
    "slider": (["--portraits", "4", "--moves", "3"], ["--threads", "2"]),
    "paint_stroke": (None, []),
    "methods": (["--sizes", "demo", "--repeats", "1", "--only", "inversion", "strength"], []),
    "text_step": (["--repeats", "2"], []),
    "fit_direction": (["--samples", "16"], []),
    "pair_edit": (None, ["--edits", "glasses"]),
    "inversion": (["--portraits", "2", "--steps", "10"], ["--portraits", "6", "--steps", "100"]),
    "drag": (["--drags", "2"], []),
    "drag_each": (None, []),
    "edit_one_for_all": (None, []),
    "combine_edits": (None, []),
    "one_state": (["--only", "gan", "--portraits", "8", "--examples", "1", "--sliders", "turn_head"], []),
    "alpha_linearity": (None, []),
    "inverted_spread": (None, ["--portraits", "16", "--examples", "1"]),
    "alignment": (["--portraits", "2", "--megapixels", "2"], ["--portraits", "16"]),
    "adaptation": (None, []),
    "painting": (None, []),
    "text_edits": (None, ["--variants", "none", "regions"]),
    "demo_generator": (None, []),
    "mutate_files": (["--count", "50"], ["--count", "10000", "--folders"]),
    "interrupts": (["--only", "generate_and_blend", "--stops", "2"], []),
    "wrong_inputs": (None, []),
    "kept_memory": (None, []),
    "batch_folder": (["--pictures", "100", "--kills", "0"], []),
    "ray_folder": (["--pictures", "100", "--kills", "0"], ["--pictures", "400", "--kills", "30"]),
    "demo_diffusion": (None, []),
    "imagic": (None, ["--methods", "imagic", "joint", "--pairs", "8", "--rows", "{out}/imagic_rows.jsonl"]),
    "cpu_choices": (None, []),
    "released_loop": (None, ["--reference-path", "{nvlabs}", "--released-steps", "2", "--our-steps", "3"]),
}
SECTIONS = ("kernels", "synthesis", "growth", "scripts")


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    options.out.mkdir(parents=True, exist_ok=True)
    rates = measured_rates(device, dtype, options.quick)
    facts = {
        "machine": machine_facts(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "dtype": options.dtype,
        "threads": options.threads,
        "versions": versions(),
        "quick": options.quick,
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "rates": {"operations": rates.operations, "bytes": rates.bytes},
    }
    say(f"{facts['machine']}; {facts['device']}, {options.dtype}, {options.threads} threads; {facts['versions']}")
    say(f"This machine reaches {rates} here.\n")
    result: dict[str, object] = {"facts": facts}
    rows: list[dict] = []
    if "kernels" in options.only:
        rows += kernels(options, device, dtype, rates)
    if "synthesis" in options.only:
        rows += pictures(options, device, dtype, rates)
    if rows:
        rates = _again(rates, measured_rates(device, dtype, options.quick), rows, facts)
        say(table(HEAD, [_cells(row) for row in rows]) + "\n")
        result["ratios"] = rows
        labels = [(row["what"], row["ratio"], row["fraction"]) for row in rows]
        bars(f"Times faster than the reference ({facts['device']}); % of the floor", labels, options.out / "suite.png")
    if gpu.problem():
        facts["kernels"] = gpu.problem()
    if "growth" in options.only and device.type == "cpu":
        import growth

        points = growth.measure(options.quick, options.threads, 16384, list(growth.SERIES))
        say(growth.report(points) + "\n")
        growth.plot(points, options.out / "growth.png")
        result["growth"] = points
    if "scripts" in options.only:
        result["scripts"] = scripts(options)
    (options.out / "suite.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    say(f"Saved to {options.out}.")


def _again(first: Rates, last: Rates, rows: list[dict], facts: dict) -> Rates:
    """The better rates of before and after: other work may have slowed either. The rows' floors follow."""
    rates = Rates(max(first.operations, last.operations), max(first.bytes, last.bytes))
    for row in rows:
        row["floor"] = rates.floor(Cost(row["operations"], row["bytes"]))
        row["fraction"] = row["floor"] / row["seconds"]
    facts["rates"] = {"operations": rates.operations, "bytes": rates.bytes}
    say(f"Floors count with the better rates of before and after: {rates}.\n")
    return rates


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small shapes and few repeats: does it all run?")
    parser.add_argument("--only", nargs="+", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--scripts", nargs="+", default=list(SCRIPTS), choices=list(SCRIPTS), help="which of them")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=0, help="of every measurement; 0: 5, or 2 with --quick")
    parser.add_argument("--limit", type=float, default=3600, help="seconds a script may take")
    parser.add_argument("--reference-path", type=Path, default=os.environ.get("NVLABS_PATH"), help="NVlabs' checkout")
    parser.add_argument("--pages", action="store_true", help="put what each script prints on its page of results/")
    parser.add_argument("--out", type=Path, default=HERE.parent / "output" / "benchmarks")
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (2 if options.quick else 5)
    return options


def versions() -> str:
    """torch and what else decides the figures."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("torch", "triton", "numpy", "safetensors", "open_clip_torch", "diffusers"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    cuda = f", CUDA {torch.version.cuda}" if torch.version.cuda else ""
    return ", ".join(found) + cuda


HEAD = ("what", "reference", "time", "its time", "times faster (quartiles)", "spread of ours", "floor", "of the floor")


def _cells(row: dict) -> tuple:
    return (
        row["what"],
        row["reference"],
        f"{1000 * row['seconds']:.2f} ms",
        f"{1000 * row['reference_seconds']:.2f} ms",
        f"{row['ratio']:.2f} ({row['low']:.2f}-{row['high']:.2f})",
        f"{1000 * row['fastest']:.2f}-{1000 * row['slowest']:.2f} ms",
        f"{1000 * row['floor']:.2f} ms",
        f"{row['fraction']:.0%}",
    )


def compared(what: str, reference: str, times: dict[str, Times], cost: Cost, rates: Rates) -> dict:
    """A row: ours beside the reference, beside the floor."""
    won, mine = ratio(times["reference"], times["ours"]), times["ours"]
    row = {
        "what": what,
        "reference": reference,
        "seconds": mine.median,
        "reference_seconds": times["reference"].median,
        "ratio": won.wall,
        "low": won.low,
        "high": won.high,
        "fastest": mine.best,
        "slowest": max(mine.wall),
        "operations": cost.operations,
        "bytes": cost.bytes,
        "floor": rates.floor(cost),
        "fraction": rates.floor(cost) / mine.median,
    }
    say(f"{what}: {row['ratio']:.2f} times {reference}, {row['fraction']:.0%} of the floor")
    return row


def kernels(options: argparse.Namespace, device: torch.device, dtype: torch.dtype, rates: Rates) -> list[dict]:
    """Every operation on the shapes of real layers."""
    rows = []
    for what, run, inputs, cost in operations(options.quick, device, dtype):
        cost = in_bytes(cost, dtype)
        for gradient in (False, True):
            runs = {
                name: _pass(path, run, inputs, gradient, device)
                for name, path in (("reference", "reference"), ("ours", "auto"))
            }
            times = interleaved(runs, options.repeats)
            label = f"{what}, {'with gradients' if gradient else 'forward'}"
            whole = with_gradient(cost) if gradient else cost
            rows.append(compared(label, "our reference path", times, whole, rates))
    return rows


def operations(quick: bool, device: torch.device, dtype: torch.dtype) -> list[tuple]:
    """(name, run, inputs with gradients, cost in values) of every operation."""
    rng = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        x = torch.randn(shape, generator=rng).to(device, dtype)
        return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 and shape[1] > 1 else x

    found = []
    for inputs, outputs, side, up in QUICK_LAYERS if quick else LAYERS:
        given = {
            "x": drawn(1, inputs, side, side),
            "weight": drawn(outputs, inputs, 3, 3).contiguous(),
            "styles": drawn(1, inputs),
            "noise": drawn(1, 1, up * side, up * side),
            "bias": drawn(outputs),
        }
        fixed = {
            "up": up, "fir": FIR.to(device), "activation": "lrelu", "gain": 2**0.5, "prepared": PreparedWeight()
        }  # fmt: skip
        name = f"layer {inputs} to {outputs}, {side} px{' doubled' if up == 2 else ''}"
        cost = convolution(1, inputs, outputs, side, side, up, 3, 16)
        found.append((name, _layer(given, fixed), [given["x"], given["styles"]], cost))
    channels, side = (8, 32) if quick else (128, 256)
    values, fir = channels * side * side, FIR.to(device)
    x, bias = drawn(1, channels, side, side), drawn(channels)
    found.append(
        (f"bias_act {channels} x {side} px", lambda: bias_act(x, bias, "lrelu"), [x], Cost(4 * values, 2 * values))
    )
    for up, down in ((2, 1), (1, 2)):
        name = f"upfirdn2d {channels} x {side} px {'doubled' if up == 2 else 'halved'}"
        made = values * up * up / down**2
        taps = 16 / up**2
        run = _resampled(x, fir, up, down)
        found.append((name, run, [x], Cost(2 * taps * made, values + made)))
    other, mask = drawn(1, channels, side, side), torch.rand(1, 1, side, side, generator=rng).to(device, dtype)
    run = _blended(x, other, mask)
    found.append((f"blend {channels} x {side} px", run, [x, other], Cost(3 * values, 3 * values)))
    return found


def _layer(given: dict, fixed: dict) -> Callable[[], torch.Tensor]:
    return lambda: modulated_conv2d(**given, **fixed)


def _resampled(x: torch.Tensor, fir: torch.Tensor, up: int, down: int) -> Callable[[], torch.Tensor]:
    return lambda: upfirdn2d(x, fir, up, down, (2, 1, 2, 1))


def _blended(x: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: blend_features(x, other, mask)


def _pass(path: str, run: Callable, inputs: list, gradient: bool, device: torch.device) -> Callable[[], None]:
    def once() -> None:
        with use_kernels(path):
            if not gradient:
                with torch.inference_mode():
                    run()
            else:
                for tensor in inputs:
                    tensor.requires_grad_()
                y = run()
                torch.autograd.grad(y, inputs, y.detach())
                for tensor in inputs:
                    tensor.requires_grad_(False)
        synchronize(device)

    return once


def pictures(options: argparse.Namespace, device: torch.device, dtype: torch.dtype, rates: Rates) -> list[dict]:
    """Whole syntheses: beside NVlabs' where there is a checkout."""
    rows = []
    sizes = ["32"] if options.quick else ["128demo", "256", "512"] + (["1024"] if device.type == "cuda" else [])
    batches = (1, 2) if options.quick else (1, 4) if device.type == "cpu" else (1, 8)
    for size in sizes:
        theirs, ours = _networks(options.reference_path, size, 1024 if options.quick else 32768)
        ours.to(device)
        for batch in batches:
            rng = torch.Generator().manual_seed(1)
            w = torch.randn(batch, ours.config.num_layers, 512, generator=rng).to(device)
            cost = in_bytes(synthesis(ours, batch), dtype)
            for gradient in (False, True):
                runs = {
                    "reference": _synthesis(
                        theirs or ours, "reference", w, dtype, gradient, device, theirs is not None
                    ),
                    "ours": _synthesis(ours, "auto", w, dtype, gradient, device, False),
                }
                times = interleaved(runs, options.repeats)
                what = f"synthesis {size} px, batch {batch}, {'with gradients' if gradient else 'forward'}"
                beside = "our reference path" if theirs is None else "NVlabs"
                rows.append(compared(what, beside, times, with_gradient(cost) if gradient else cost, rates))
    return rows


def _networks(checkout: Path | None, size: str, base: int) -> tuple[torch.nn.Module | None, torch.nn.Module]:
    from semantic_edit.models import StyleGAN2, StyleGAN2Config
    from synthesis import DEMO_CHANNELS, networks

    if checkout is not None:
        return networks(Path(checkout), size, base)
    pixels = int(size.removesuffix("demo"))
    full = {2**k: min(base // 2**k, 512) for k in range(2, pixels.bit_length())}
    channels = tuple((DEMO_CHANNELS if size.endswith("demo") else full).values())
    network = StyleGAN2(StyleGAN2Config(z_dim=512, w_dim=512, channels=channels))
    return None, network.requires_grad_(False).eval()


def _synthesis(network, path, w, dtype, gradient, device, nvlabs: bool) -> Callable[[], None]:
    def image(codes: torch.Tensor) -> torch.Tensor:
        if nvlabs:
            return network.synthesis(codes, noise_mode="const", force_fp32=dtype == torch.float32)
        return network.synthesis(codes, SynthesisOptions(dtype=dtype)).image

    if nvlabs:
        network.to(device)

    def once() -> None:
        with use_kernels(path):
            if gradient:
                codes = w.clone().requires_grad_()
                image(codes).float().square().mean().backward()
            else:
                with torch.inference_mode():
                    image(w)
        synchronize(device)

    return once


def replaced(word: str, given: dict[str, str]) -> str:
    """An argument with the paths that stand for names in braces."""
    for name, path in given.items():
        word = word.replace(name, path)
    return word


def scripts(options: argparse.Namespace) -> list[dict]:
    """Run the other scripts; what each says goes to a file of its name."""
    rows = []
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    for name in options.scripts:
        arguments = SCRIPTS[name][0 if options.quick else 1]
        if arguments is None:
            continue
        if "{nvlabs}" in arguments and options.reference_path is None:
            rows.append({"script": name, "outcome": "left out: it needs a checkout (--reference-path)"})
            continue
        given = {"{nvlabs}": str(options.reference_path), "{out}": str(options.out)}
        filled = [replaced(word, given) for word in arguments]
        command = [sys.executable, str(HERE / f"{name}.py"), *filled]
        begin = time.perf_counter()
        with open(options.out / f"{name}.txt", "w", encoding="utf-8") as output:
            try:
                done = subprocess.run(  # noqa: S603
                    command,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    timeout=options.limit,
                    check=False,
                )
                outcome = "done" if done.returncode == 0 else f"failed with {done.returncode}"
            except subprocess.TimeoutExpired:
                outcome = f"stopped after {options.limit:.0f} s"
        rows.append({"script": name, "outcome": outcome, "seconds": round(time.perf_counter() - begin, 1)})
        say(f"{name}: {outcome}, {rows[-1]['seconds']} s")
        if options.pages and outcome == "done":
            printed = (options.out / f"{name}.txt").read_text(encoding="utf-8")
            shown = " ".join(["python", f"benchmarks/{name}.py", *arguments])
            say(f"{name}: on {write_page(name, printed, shown, machine_facts()).name}")
    say()
    say(table(("script", "outcome", "seconds"), [(r["script"], r["outcome"], r.get("seconds", "")) for r in rows]))
    return rows


if __name__ == "__main__":
    main()
