"""Every GAN node at the size that people own: time, memory and pictures, with random weights, on a CPU.

Generators of 1024 px (18 rows of W+, NVlabs' widths), of 512 x 384 and 1024 x 512 pixels; batches of 1 and 8. Every row
is a process of its own. Optimising nodes run a few steps, and their time is scaled up to the node's own number of steps
(both are printed). Time is the processor's, as the machine may have other work; that on the wall stands beside it.
Asserted: no process holds more than 12 GB; the first report comes within 5 seconds of a thread; and a stop that is
asked for while a node works ends it at the next report, which is tried at a small size (``--quick`` runs nothing else),
while the longest silence between two reports is printed for the full one. The run ends with status 1 otherwise.

    python benchmarks/full_size.py [--quick] [--rows FILE.jsonl] [--only NODE ...] [--sizes 1024 512x384 1024x512]
        [--batches 1 8] [--threads 2] [--limit 400]

Rows that are in FILE are not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _harness import machine_facts, say, table
from growth import _peak as peak
from growth import _reset_peak as reset_peak

LARGEST, SOONEST = 12 * 1024, 5.0  # MiB; seconds to the first report
SIZES = {"1024": ((4, 4), 9), "512x384": ((3, 4), 8), "1024x512": ((2, 4), 9), "64": ((4, 4), 5)}
BASE = 32768


class Moment(NamedTuple):
    """Seconds on the wall and of the processor, all threads."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.monotonic(), time.process_time())

    def since(self, other: Moment) -> Moment:
        return Moment(self.wall - other.wall, self.cpu - other.cpu)


class World:
    """A generator with random weights, and what nodes take beside it, made by nodes when first asked for."""

    def __init__(self, size: str, batch: int, work: Path) -> None:
        from semantic_edit.headless import HeadlessSettings, use_headless

        self.size, self.batch, self.work = size, batch, work
        self.bar = watching_bar()
        for name in ("input", "output", "models"):
            (work / name).mkdir(parents=True, exist_ok=True)
        folders = (work / name for name in ("input", "output", "models"))
        self.host = use_headless(HeadlessSettings(*folders, device="cpu", bar=self.bar))
        # ComfyUI shows a bar as soon as a node has begun one.
        begin = self.host.progress

        def progress(total: int, label: str = "") -> Any:
            self.bar.reports.append(Moment.now())
            return begin(total, label)

        self.host.progress = progress
        from semantic_edit.nodes import node_classes  # asks the host for its kinds of sockets

        self.nodes = {node.GET_SCHEMA().node_id.removeprefix("SemanticEdit"): node for node in node_classes()}

    def run(self, node_id: str, **inputs: Any) -> list[Any]:
        """Run a node with its defaults, as ComfyUI does; its outputs."""
        from semantic_edit.headless.run.execution import execute

        node = self.nodes[node_id]
        schema = node.GET_SCHEMA()
        values = {}
        for socket in schema.inputs or []:
            default = getattr(socket, "default", None)
            values[socket.id] = socket.options[0] if default is None and getattr(socket, "options", None) else default
        lists = {name: [value] for name, value in {**values, **inputs}.items() if value is not None}
        with torch.inference_mode():
            results, _ = execute(node, schema, lists, {})
        return [
            result if out.is_output_list else result[0] for result, out in zip(results, schema.outputs, strict=True)
        ]

    @cached_property
    def generator(self) -> Any:
        from semantic_edit.models import StyleGAN2, StyleGAN2Config, load_generator
        from semantic_edit.models.gan.generator import save_generator

        path = self.work / f"generator-{self.size}.safetensors"
        if not path.exists():
            const, blocks = SIZES[self.size]
            widths = tuple(min(BASE // 2**k, 512) for k in range(2, blocks + 2))
            if self.size == "64":
                widths = (32, 32, 24, 16, 16)
            dimension = 64 if self.size == "64" else 512
            config = StyleGAN2Config(z_dim=dimension, w_dim=dimension, channels=widths, const_size=const)
            save_generator(path, StyleGAN2(config).requires_grad_(False).eval(), half=True)
        return load_generator(path)

    def sampled(self, count: int, seed: int) -> Any:
        return self.run("SampleLatents", generator=self.generator, count=count, seed=seed)[0]

    @cached_property
    def latents(self) -> Any:
        return self.sampled(self.batch, 1)

    @cached_property
    def example(self) -> tuple[Any, Any]:
        return self.sampled(1, 2), self.sampled(1, 3)

    @cached_property
    def direction(self) -> Any:
        start, edited = self.example
        return self.run("DirectionFromCodes", before=start, after=edited)[0]

    @cached_property
    def strengths(self) -> Any:
        return self.run("ComputeStrength", direction=self.direction, latents=self.latents)[0]

    @cached_property
    def photos(self) -> torch.Tensor:
        """[B, H, W, 3] in 0..1, of the generator's size: smooth, and none of its own."""
        height, width = self.generator.resolution
        coarse = torch.rand(self.batch, 3, 16, 16, generator=torch.Generator().manual_seed(5))
        fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
        return fine.movedim(1, -1).contiguous()

    @cached_property
    def mask(self) -> torch.Tensor:
        """[B, H, W] with a square of 1."""
        height, width = self.generator.resolution
        mask = torch.zeros(self.batch, height, width)
        mask[:, height // 4 : height // 2, width // 4 : width // 2] = 1
        return mask

    @cached_property
    def parts(self) -> Any:
        return self.run("PartsFromFeatures", generator=self.generator, latents=self.latents)[0]

    @cached_property
    def scorer(self) -> Any:
        return self.run("LoadTextImageScorer", file="demo_portraits/open_clip_model.safetensors")[0]

    @cached_property
    def reader(self) -> Any:
        return self.run("ReadFromMask", measure="brightness", region="whole picture")[0]

    @cached_property
    def text_edit(self) -> Any:
        return self.run(
            "TrainTextEdit", generator=self.generator, scorer=self.scorer, latents=self.sampled(1, 4), steps=1,
            masks="attention", samples=0,
        )[0]  # fmt: skip

    @cached_property
    def adapted(self) -> Any:
        return self.run("AdaptGenerator", generator=self.generator, photos=self.photos, latents=self.latents)[0]


def watching_bar() -> Any:
    """A bar that notes when it is told of steps."""
    from semantic_edit.headless.host.progress_bar import Bar

    class Watching(Bar):
        def __init__(self) -> None:
            super().__init__()
            self.reports: list[Moment] = []
            self.on_report: Callable[[], None] = lambda: None

        def step(self, step: int, total: int, label: str = "") -> None:
            self.reports.append(Moment.now())
            self.on_report()

    return Watching()


# Node -> (its inputs, the input that counts steps, steps here, steps by default); None: it has no steps.
def with_generator(**inputs: Any) -> Callable[[World], dict[str, Any]]:
    return lambda w: {
        "generator": w.generator, **{name: getattr(w, value[1:]) if str(value)[:1] == "=" else value
                                     for name, value in inputs.items()}
    }  # fmt: skip


CODES = {"latents": "=latents"}
CASES: dict[str, tuple[Callable[[World], dict[str, Any]], tuple[str, int, int] | None]] = {
    "SampleLatents": (lambda w: {"generator": w.generator, "count": w.batch}, None),
    "GenerateImages": (with_generator(**CODES), None),
    "InvertImages": (with_generator(images="=photos"), ("steps", 2, 150)),
    "AdaptGenerator": (with_generator(photos="=photos", **CODES), None),
    "AdaptGenerator, free": (with_generator(photos="=photos", method="free", **CODES), ("steps", 2, 100)),
    "DragPoints": (lambda w: {"generator": w.generator, "latents": w.sampled(1, 2), "points": "0.4,0.4 -> 0.45,0.4",
                              "units": "fractions"}, ("steps", 2, 100)),
    "RecordEdit": (lambda w: {"generator": w.generator, "start": w.example[0], "edited": w.example[1]}, None),
    "OptimizeDirection, batch": (lambda w: {"generator": w.generator, "edit": w.direction, "variant": "batch",
                                            "normal": "direction"}, ("steps", 2, 60)),
    "OptimizeDirection, single": (lambda w: {"generator": w.generator, "edit": w.direction, "variant": "single",
                                             "normal": "direction"}, ("steps", 2, 1000)),
    "OptimizeDirection, features": (lambda w: {"generator": w.generator, "edit": w.direction, "normal": "features",
                                               "features": "generator's own", "steps": 1}, ("samples", 64, 512)),
    "ComputeStrength": (with_generator(direction="=direction", **CODES), None),
    "ApplyEdit": (lambda w: {"latents": w.latents, "direction": w.direction, "strength": w.strengths}, None),
    "DiscoverDirections": (with_generator(**CODES), None),
    "SlideAttribute": (with_generator(direction="=direction", **CODES), None),
    "AnimateStrength": (lambda w: {"generator": w.generator, "latents": w.latents, "direction": w.direction},
                        ("frame_count", 2, 24)),
    "ListDirections": (with_generator(), None),
    "CheckGenerator": (with_generator(), None),
    "PartsFromFeatures": (with_generator(**CODES), None),
    "LocalizeDirection": (with_generator(direction="=direction", parts="=parts", **CODES), ("steps", 2, 80)),
    "TrainTextEdit": (with_generator(scorer="=scorer", masks="attention", samples=0, **CODES), ("steps", 2, 40)),
    "ApplyTextEdit": (with_generator(text_edit="=text_edit", **CODES), None),
    "RegionLayerMasks": (with_generator(text_edit="=text_edit", **CODES), None),
    "DissectConcepts": (lambda w: {"generator": w.generator, "ranking": "difference", "segmenter": w.run(
        "LoadSegmenter", file="demo_portraits.safetensors")[0]}, ("samples", 64, 1024)),
    "CopyAppearance": (lambda w: {"generator": w.generator, "latents": w.latents, "mask": w.mask,
                                  "reference": w.latents, "reference_mask": w.mask}, None),
    "RenderPaintedPhoto": (lambda w: {"generator": w.adapted, "latents": w.latents, "photos": w.photos,
                                      "painting": w.run("CopyAppearance", generator=w.adapted, latents=w.latents,
                                                        mask=w.mask, reference=w.latents, reference_mask=w.mask)[0]},
                           None),
    "ProbeStrengths": (lambda w: {"pictures": w.photos}, None),
    "ReachState": (with_generator(reader="=reader", direction="=direction", aim="median", **CODES), None),
    "PasteBack": (lambda w: dict(zip(("crops", "alignment"), w.run(
        "AlignCrop", photos=w.photos, method="boxes", boxes="0.2 0.2 0.8 0.8", generator=w.generator)[:2],
        strict=True)) | {"photos": w.photos}, None),
    "AlignCrop": (lambda w: {"photos": w.photos, "method": "boxes", "boxes": "0.2 0.2 0.8 0.8",
                             "generator": w.generator}, None),
    "SmoothFrames": (lambda w: {"latents": w.latents}, None),
    "CompareImages": (lambda w: {"before": w.photos, "after": w.photos}, None),
}  # fmt: skip

# One code or none goes in, whatever the batch: measured once.
WITHOUT_BATCH = {
    "DragPoints", "RecordEdit", "OptimizeDirection, batch", "OptimizeDirection, single", "OptimizeDirection, features",
    "ListDirections", "CheckGenerator", "DissectConcepts",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 px only, every node stopped once")
    parser.add_argument("--rows", type=Path, help="JSON lines; rows that are there are not run again")
    parser.add_argument("--only", nargs="+", default=list(CASES))
    parser.add_argument("--sizes", nargs="+", default=["1024", "512x384", "1024x512"], choices=tuple(SIZES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=400, help="seconds for a row")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.stdout.write(json.dumps(child(**json.loads(options.child))) + "\n")
        return
    sizes, batches = (["64"], [2]) if options.quick else (options.sizes, options.batches)
    say(machine_facts() + "\n")
    rows = measured(options, sizes, batches)
    say(table(HEAD, [cells(row) for row in rows]))
    bad = [problem for row in rows for problem in problems(row)]
    say("\n" + ("\n".join(bad) if bad else "All within bounds."))
    sys.exit(1 if bad else 0)


def measured(options: argparse.Namespace, sizes: list[str], batches: list[int]) -> list[dict]:
    """All rows, from the file or from a process each."""
    rows = []
    if options.rows and options.rows.exists():
        rows = [json.loads(line) for line in options.rows.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "failed" not in row]
    done = {(row["node"], row["size"], row["batch"]) for row in rows}
    with tempfile.TemporaryDirectory(prefix="full-size-") as temporary:
        for size in sizes:
            for batch in batches:
                for node in options.only:
                    again = node in WITHOUT_BATCH and any(key[:2] == (node, size) for key in done)
                    if not again and (node, size, batch) not in done:
                        task = {"node": node, "size": size, "batch": batch, "work": temporary}
                        rows.append(run_child({**task, "threads": options.threads}, options.limit))
                        done.add((node, size, batch))
                        say(" ".join(cells(rows[-1])))
                        if options.rows:
                            with options.rows.open("a", encoding="utf-8") as file:
                                file.write(json.dumps(rows[-1]) + "\n")
    return rows


def run_child(task: dict, limit: float) -> dict:
    """A row; what went wrong is in its "failed"."""
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    row = {key: task[key] for key in ("node", "size", "batch", "threads")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)  # noqa: S603
    except subprocess.TimeoutExpired:
        return {**row, "failed": f"not done after {limit:.0f} s"}
    if done.returncode:
        return {**row, "failed": (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1][:200]}
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def child(node: str, size: str, batch: int, work: str, threads: int) -> dict:
    """Run one node, and look at it."""
    torch.set_num_threads(threads)
    world = World(size, batch, Path(work))
    inputs, steps = CASES[node]
    name, given = node.partition(",")[0], inputs(world)
    if steps is not None:
        given[steps[0]] = steps[1]
    world.bar.reports.clear()
    reset_peak()
    begin = Moment.now()
    outputs = world.run(name, **given)
    end = Moment.now()
    reports = [begin, *world.bar.reports, end]
    pictures = [tuple(x.shape) for x in outputs if isinstance(x, torch.Tensor) and x.ndim == 4]
    row = {
        "seconds": end.since(begin),
        "peak": peak(),
        "first": reports[1].since(begin),
        "silence": [max(gaps) for gaps in zip(*(b.since(a) for a, b in pairwise(reports)), strict=True)],
        "steps": list(steps[1:]) if steps else None,
        "step": reports[-2].since(reports[-3]).cpu if steps and len(reports) > 3 else None,
        "pictures": pictures[0] if pictures else None,
    }
    if size == "64":
        row["stop"] = stopped(world, name, given, len(world.bar.reports))
    return row


def stopped(world: World, name: str, given: dict, reports: int) -> str:
    """Ask for a stop at the first report, from another thread; "" where it ends the node before the next one."""
    from semantic_edit.headless import StoppedError

    if not reports:
        return ""  # it is over at once
    seen = []

    def ask() -> None:
        seen.append(1)
        if len(seen) == 1:
            asking = threading.Thread(target=world.host.interrupt)
            asking.start()
            asking.join()

    world.bar.on_report = ask
    try:
        world.run(name, **given)
    except StoppedError:
        return "" if len(seen) <= 2 else f"went on for {len(seen) - 1} reports"
    return "" if reports < 2 else "did not stop"


HEAD = (
    "node",
    "pixels",
    "batch",
    "CPU s",
    "on the wall",
    "at its own steps, CPU s",
    "peak, MB",
    "first report, CPU s",
    "longest silence, CPU s",
    "pictures",
)


def cells(row: dict) -> tuple[str, ...]:
    head = (row["node"], row["size"], str(row["batch"]))
    if "failed" in row:
        return (*head, row["failed"], *[""] * 6)
    steps, pictures = row["steps"], row["pictures"]
    scaled = ""
    if steps:  # the last step's time for each that is missing
        missing = (steps[1] - steps[0]) * (row.get("step") or row["seconds"][1] / steps[0])
        scaled = f"{row['seconds'][1] + missing:.0f} ({steps[1]} for {steps[0]})"
    return (
        *head, f"{row['seconds'][1]:.1f}", f"{row['seconds'][0]:.1f}", scaled, f"{row['peak']:.0f}",
        f"{row['first'][1]:.1f}", f"{row['silence'][1]:.1f}", " x ".join(map(str, pictures)) if pictures else "",
    )  # fmt: skip


def problems(row: dict) -> list[str]:
    """What is out of bounds."""
    name = f"{row['node']}, {row['size']}, batch {row['batch']}"
    if "failed" in row:
        return [f"{name}: {row['failed']}"]
    found = []
    if row["peak"] > LARGEST:
        found.append(f"{name}: {row['peak']:.0f} MB")
    if row["first"][1] / row["threads"] > SOONEST:
        found.append(f"{name}: the first report after {row['first'][1]:.1f} s of the processor")
    if row.get("stop"):
        found.append(f"{name}: a stop {row['stop']}")
    return found


if __name__ == "__main__":
    main()
