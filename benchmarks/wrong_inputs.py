"""Gives every node wrong inputs, one at a time, and counts how it ends.

The shipped workflows run once with few steps, and what each node was given is kept. Then each of its inputs in turn is
replaced by odd values of its type: numbers out of range and not finite (which arrive by wires, where ComfyUI does not
look at ranges), empty and broken texts, pictures and masks without content, of other sizes, of odd channels, with NaN,
codes and directions of another generator, values that other workflows made. A node may work with what it got, or
refuse it with one sentence; anything else is a defect and ends the run with status 1.

python benchmarks/wrong_inputs.py [--only Node ...] [--seconds 20]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from _harness import say
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.headless import HeadlessSettings, use_headless
from semantic_edit.headless.host.headless_host import StoppedError
from semantic_edit.headless.host.progress_bar import Bar
from semantic_edit.headless.run import runner
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.document import read_document
from semantic_edit.models import InputError, StyleGAN2, StyleGAN2Config
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

WORKFLOWS = Path(__file__).resolve().parents[1] / "workflows"
OWN_MODEL = {"imagic"}
FEW = {"steps": 2, "draws": 1, "adapt_steps": 2, "rounds": 1, "samples": 64, "most": 2}
TEXTS = ("", " ", "x", "../../x", "a\0b", "1,2", "nan", "[[1,2]", "{}", "é" * 3000, "0 to 1 in 99999")
NUMBERS = {"INT": (-1, 0, 1, 10**9), "FLOAT": (-1e9, -1.0, 0.0, 1e9, float("nan"), float("inf"))}


@dataclass
class Given:
    """What a node was given in a workflow that works."""

    node: type
    schema: Any
    inputs: dict[str, list]
    hidden: dict[str, Any]


@dataclass
class Watch(Bar):
    """Stops what takes too long: that is no defect, since a user can do the same."""

    headless: Any = None
    until: float = field(default=float("inf"))

    def __post_init__(self) -> None:
        super().__init__()

    def step(self, step: int, total: int, label: str = "") -> None:
        """A node reports."""
        if time.process_time() > self.until:
            self.headless.interrupt()


def collected(headless: Any) -> tuple[dict[str, Given], dict[str, list[Any]]]:
    """One good call of each node of ours, and values by type, from all workflows."""
    calls: dict[str, Given] = {}
    values: dict[str, list[Any]] = defaultdict(list)
    plain = runner.execute

    def recorded(node: type, schema: Any, inputs: dict[str, list], hidden: dict[str, Any]) -> tuple[list[list], dict]:
        found = plain(node, schema, inputs, hidden)
        if schema.node_id.startswith("SemanticEdit"):
            calls.setdefault(schema.node_id, Given(node, schema, inputs, hidden))
        for output, given in zip(schema.outputs or [], found[0], strict=True):
            kept = values[str(output.io_type)]
            kept += given[: 6 - len(kept)][:1]
        return found

    runner.execute = recorded
    try:
        for path in sorted(WORKFLOWS.glob("*.json")):
            if path.stem in OWN_MODEL:
                continue
            started, run = time.process_time(), Runner(headless)
            prompt = run.prepare(read_document(path))
            for node in prompt.nodes.values():
                for name, few in FEW.items():
                    if isinstance(node["inputs"].get(name), int) and node["inputs"][name] > few:
                        node["inputs"][name] = few
            run.run(prompt)
            say(f"{path.stem}: {time.process_time() - started:.0f} s")
    finally:
        runner.execute = plain
    return calls, values


def odd_values(socket: Any, good: Any, values: dict[str, list[Any]], other: dict[str, list[Any]]) -> Iterator[Any]:
    """What to put in place of a good value."""
    kind = socket.get_io_type()
    if kind in NUMBERS:
        yield from NUMBERS[kind]
    elif kind == "STRING":
        yield from TEXTS
    elif kind == "COMBO":
        yield from ("", "?", "../../x")
    elif kind == "IMAGE":
        yield from odd_pictures()
    elif kind == "MASK":
        yield from (torch.zeros(shape) for shape in ((0, 8, 8), (8, 8), (1, 8, 8), (2, 3, 8, 8), (3, 5, 70)))
        yield from (torch.full((1, 16, 16), value) for value in (float("nan"), 7.0))
    elif kind == "LATENT":
        yield from ({"samples": torch.zeros(shape)} for shape in ((0, 4, 8, 8), (1, 9, 8, 8), (1, 4, 1, 1), (4, 8, 8)))
        yield from ({}, {"samples": torch.full((1, 4, 16, 16), float("nan"))})
    elif kind == "CONDITIONING":
        yield from (
            [],
            [[torch.zeros(1, 3, 5), {}]],
            [[torch.full((1, 77, 128), float("nan")), {}]],
            2 * list(good or []),
        )
    if kind not in NUMBERS and kind not in ("STRING", "COMBO", "BOOLEAN"):
        yield from other.get(kind, [])
        yield from values.get(kind, [])


def odd_pictures() -> Iterator[torch.Tensor]:
    """Batches that are no pictures, or none that a generator expects."""
    plain = ((0, 64, 64, 3), (1, 64, 64, 1), (2, 64, 64, 4), (1, 1, 1, 3), (1, 7, 300, 3), (1, 0, 0, 3))
    yield from (torch.zeros(shape) for shape in (*plain, (64, 64, 3), (1, 3, 64, 64)))
    yield torch.full((1, 64, 64, 3), float("nan"))
    yield torch.full((1, 64, 64, 3), 255.0)
    yield torch.zeros(1, 64, 64, 3, dtype=torch.uint8)


def foreign() -> dict[str, list[Any]]:
    """A generator of another family, and codes of it."""
    network = StyleGAN2(StyleGAN2Config(z_dim=8, w_dim=8, channels=(8, 8, 8), mapping_layers=2)).requires_grad_(False)
    network.eval()
    family = family_fingerprint(network)
    generator = GanGenerator(network, family, "foreign")
    codes = generator.map(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    return {"GAN_GENERATOR": [generator], "GAN_LATENT": [GanLatent(codes, ("a", "b"), family)]}


def tried(given: Given, inputs: dict[str, list], watch: Watch, seconds: float) -> tuple[str, str]:
    """How one call ends, and what it said."""
    watch.headless.resume()
    watch.until = time.process_time() + seconds
    try:
        with torch.inference_mode():
            runner.execute(given.node, given.schema, inputs, given.hidden)
    except StoppedError:
        return "long", ""
    except InputError as problem:
        text = str(problem)
        fine = len(text) > 20 and "\n" not in text.strip() and text.rstrip()[-1] in ".!?)'"
        return ("refused", text) if fine else ("defect", f"no sentence: {text}")
    except Exception as problem:
        return "defect", f"{type(problem).__name__}: {problem}"
    return "worked", ""


def main() -> int:
    """Prints a line for each defect and the counts; 0 when there was no defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--start", default="", help="leave out the nodes before this one")
    parser.add_argument("--seconds", type=float, default=20.0, help="after which a call is stopped")
    parser.add_argument("--said", action="store_true", help="print the sentences too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    outcomes: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch()
        headless = watch.headless = use_headless(HeadlessSettings(output=Path(folder), device="cpu", bar=watch))
        calls, values = collected(headless)
        other = foreign()
        for name, given in sorted(calls.items()):
            if name.removeprefix("SemanticEdit") < options.start:
                continue
            if options.only and not {name, name.removeprefix("SemanticEdit")} & set(options.only):
                continue
            for socket in given.schema.inputs or []:
                good = given.inputs.get(socket.id, [None])[0]
                for number, odd in enumerate(odd_values(socket, good, values, other)):
                    outcome, text = tried(given, {**given.inputs, socket.id: [odd]}, watch, options.seconds)
                    outcomes[outcome] += 1
                    if outcome == "defect" or (options.said and text):
                        say(f"{name.removeprefix('SemanticEdit')}.{socket.id} {number} {shown(odd)}: {text[:300]}")
            say(f"{name.removeprefix('SemanticEdit')}: {sum(outcomes.values())} so far, {outcomes['defect']} defects")
    say(f"{len(calls)} nodes, {sum(outcomes.values())} wrong inputs: {dict(outcomes)}")
    return 1 if outcomes["defect"] else 0


def shown(value: Any) -> str:
    """A value in few letters."""
    return f"{list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)[:40]


if __name__ == "__main__":
    sys.exit(main())
