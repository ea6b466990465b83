"""How time and memory grow: with the batch, with the size of the picture, with the number of pictures in a folder.

Every point is a process of its own, so that its peak memory is its own too: the peak above what the process held with
its networks loaded. Time is the processor's, of all threads: other work on the machine disturbs it less. Networks have
random weights, of NVlabs' widths (channel base / pixels, at most 512). Beside each row stands the straight line through
its points (relative least squares) and how well it fits.

    python benchmarks/growth.py [--quick] [--threads 1] [--base 16384] [--out DIR] [--only batch size folder limit]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from _floor import straightness
from _harness import machine_facts, say, table

KINDS = ("forward", "gradient", "inversion step")
_MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small networks and few points")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--base", type=int, default=16384, help="channel base: width x pixels")
    parser.add_argument("--out", type=Path, help="a folder for growth.json and growth.png")
    parser.add_argument("--only", nargs="+", choices=tuple(SERIES), default=list(SERIES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.stdout.write(json.dumps(_child(json.loads(options.child))) + "\n")
        return
    say(machine_facts() + "\n")
    found = measure(options.quick, options.threads, options.base, options.only)
    say(report(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "growth.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        plot(found, options.out / "growth.png")


def measure(quick: bool, threads: int, base: int, only: list[str]) -> list[dict]:
    """One dictionary a point: series, kind, size (what grows), CPU seconds and peak MiB of the batch or folder."""
    points = []
    for series in only:
        for task in SERIES[series](quick, base):
            facts = run_child({**task, "threads": threads})
            points.append({"series": series, **task, **facts})
            say(f"{series}: {task['kind']} {task['size']}: {facts['seconds']:.3f} s, {facts['peak']:.0f} MiB")
    return points


def run_child(task: dict) -> dict:
    """The figures of one process."""
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{task} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _batches(quick: bool, base: int) -> list[dict]:
    pixels, batches = (32, (1, 2, 4)) if quick else (256, (1, 2, 4, 8, 16))
    base = 1024 if quick else base
    return [
        {"kind": kind, "pixels": pixels, "batch": batch, "base": base, "size": batch}
        for kind in KINDS
        for batch in (batches if kind == "forward" else batches[:-1])
    ]


def _sizes(quick: bool, base: int) -> list[dict]:
    sizes = (16, 32, 64) if quick else (64, 128, 256, 512, 1024)
    base = 1024 if quick else base
    return [
        {"kind": kind, "pixels": pixels, "batch": 1, "base": base, "size": pixels**2}
        for kind in KINDS[:2]
        for pixels in sizes
    ]


def _folders(quick: bool, base: int) -> list[dict]:
    counts = (10, 20) if quick else (50, 100, 200, 400)
    return [{"kind": "folder", "count": count, "size": count} for count in counts]


def _limit(quick: bool, base: int) -> list[dict]:
    """The promise of 4 GB: 8 pictures of 1024 px at once, at NVlabs' full width."""
    pixels, base = (64, 1024) if quick else (1024, 32768)
    return [{"kind": "forward", "pixels": pixels, "batch": 8, "base": base, "size": 8, "repeats": 1}]


SERIES = {"batch": _batches, "size": _sizes, "folder": _folders, "limit": _limit}


def _child(task: dict) -> dict:
    torch.set_num_threads(task["threads"])
    return _folder(task) if task["kind"] == "folder" else _synthesis(task)


def _synthesis(task: dict) -> dict:
    from semantic_edit.editing import invert
    from semantic_edit.models import StyleGAN2, StyleGAN2Config
    from semantic_edit.models.gan.generator import GanGenerator

    widths = tuple(min(task["base"] // 2**k, 512) for k in range(2, task["pixels"].bit_length()))
    network = StyleGAN2(StyleGAN2Config(z_dim=512, w_dim=512, channels=widths)).requires_grad_(False).eval()
    generator = GanGenerator(network, "growth")
    codes = torch.randn(task["batch"], generator.num_layers, 512, generator=torch.Generator().manual_seed(1))
    picture = torch.zeros(task["batch"], 3, task["pixels"], task["pixels"])
    at_once = generator.pictures_per_graph()

    def forward() -> None:
        with torch.inference_mode():
            generator.synthesize(codes)

    def gradient() -> None:
        for part in codes.split(at_once):
            leaf = part.clone().requires_grad_()
            network.synthesis(leaf).image.square().mean().backward()

    def inversion() -> None:
        invert(generator, picture, start=codes, steps=2)

    run = {"forward": forward, "gradient": gradient, "inversion step": inversion}[task["kind"]]
    held = _reset_peak()
    times = []
    for _ in range(1 + task.get("repeats", 2)):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    # The first run prepares weights; its memory counts, its time does not.
    seconds = sorted(times[1:])[(len(times) - 1) // 2]
    return {"seconds": seconds / (2 if task["kind"] == "inversion step" else 1), "peak": _peak() - held}


def _folder(task: dict) -> dict:
    from batch_folder import job_for, make_pictures
    from semantic_edit.jobs import run_job

    with tempfile.TemporaryDirectory(prefix="growth-") as temporary:
        work = Path(temporary)
        run_job(job_for(make_pictures(work / "first", 4), work / "first-results"))  # loads the networks
        job = job_for(make_pictures(work / "pictures", task["count"]), work / "results")
        held = _reset_peak()
        begin = time.process_time()
        run_job(job)
        return {"seconds": time.process_time() - begin, "peak": _peak() - held}


def _reset_peak() -> float:
    """Forget the peak so far, where the system can; what is held now, MiB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0.0  # then the peak counts from zero
    return _status("VmRSS")


def _peak() -> float:
    """MiB."""
    if Path("/proc/self/status").exists():
        return _status("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / _MIB


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    return 0.0


def grouped(points: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """(series, kind) -> its points, smallest first."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for point in points:
        groups.setdefault((point["series"], point["kind"]), []).append(point)
    return {key: sorted(group, key=lambda point: point["size"]) for key, group in groups.items()}


def report(points: list[dict]) -> str:
    """Tables of all series."""
    rows = []
    for (series, kind), group in grouped(points).items():
        sizes = [point["size"] for point in group]
        line = {"R2": "", "each": ""}
        if len(group) > 2:
            slope, intercept, fit = straightness(sizes, [point["seconds"] for point in group])
            line = {"R2": f"{fit:.3f}", "each": f"{intercept:.2g} s + {slope:.3g} s"}
        rows.append(
            (
                series,
                kind,
                ", ".join(_size(point) for point in group),
                ", ".join(f"{point['seconds']:.3g}" for point in group),
                line["each"],
                line["R2"],
                ", ".join(f"{point['peak']:.0f}" for point in group),
            )
        )
    return table(
        ("grows", "what", "sizes", "CPU seconds", "line: start + each", "R2", "peak above the networks, MiB"), rows
    )


def _size(point: dict) -> str:
    return f"{point['pixels']} px" if point["series"] == "size" else str(point["size"])


def plot(points: list[dict], path: Path) -> Path:
    """Seconds and MiB of every series over its size."""
    from _plots import curves

    panels = []
    axes = {"batch": "pictures at once", "size": "pixels of a picture", "folder": "pictures in the folder"}
    for series, axis in axes.items():
        groups = {kind: group for (of, kind), group in grouped(points).items() if of == series}
        if groups:
            for name, what in (("seconds", "CPU seconds"), ("peak", "peak MiB above the networks")):
                lines = {kind: [(p["size"], max(p[name], 1e-3)) for p in group] for kind, group in groups.items()}
                panels.append((axis, what, lines))
    return curves("Growth: time and memory", panels, path)


if __name__ == "__main__":
    main()
