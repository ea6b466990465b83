"""Stops shipped workflows at random moments, and looks at what is left behind.

Each workflow runs once undisturbed. Then it is stopped, again and again, at a moment drawn at random among all steps
that its nodes report. After every stop three things must hold: the run ended by the interruption and by nothing else,
every file that is there is whole (a picture equals one of the undisturbed run to the byte, anything else reads), and
every model that was loaded has the parameters it had. At the end the workflow runs to its end once more and must give
the same pictures, to the byte. Whatever does not hold is printed, and the run ends with status 1.

python benchmarks/interrupts.py [--stops 5] [--seed 0] [--only NAME ...] [--results FILE.jsonl]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from _harness import say, table
from semantic_edit.headless import HeadlessSettings, use_headless
from semantic_edit.headless.host.headless_host import HeadlessHost, StoppedError
from semantic_edit.headless.host.progress_bar import Bar
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.document import read_document
from semantic_edit.models.checkpoint import read_safetensors
from torch import Tensor, nn

WORKFLOWS = Path(__file__).resolve().parents[1] / "workflows"
OWN_MODEL = {"imagic"}  # needs a checkpoint of the user's; the nodes are those of imagic_demo
PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


class Stopper(Bar):
    """Counts the steps that nodes report, and asks for a stop at one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.at, self.headless, self.where = 0, 0, None, ""

    def arm(self, headless: HeadlessHost, at: int) -> None:
        """Count from nought; stop at step ``at``, 0 for never."""
        self.seen, self.at, self.headless, self.where = 0, at, headless, ""
        headless.resume()

    def start(self, node: str, index: int, total: int) -> None:
        """A node begins."""
        super().start(node, index, total)
        self._count()

    def step(self, step: int, total: int, label: str = "") -> None:
        """A node reports."""
        self._count()

    def _count(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            self.where = self.node
            self.headless.interrupt()


class Trial:
    """One workflow, its runner and its folder."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.name, self.folder, self.bar, self.defects = path.stem, folder, Stopper(), []
        self.headless = use_headless(HeadlessSettings(output=folder, device="cpu", bar=self.bar))
        self.runner = Runner(self.headless)
        self.document = read_document(path)
        self.bar.arm(self.headless, 0)
        self.whole = self.run()
        self.pictures = self.digests()
        self.loaders = {
            node_id for node_id, node in self.prompt.nodes.items() if node["class_type"].startswith("SemanticEditLoad")
        }
        self.steps = self.bar.seen - len(self.loaders)  # what is loaded stays
        self.models = self.model_digest()

    def run(self) -> Any:
        """From a fresh prompt, as a press on the button gives."""
        self.prompt = self.runner.prepare(self.document)
        return self.runner.run(self.prompt)

    def forget(self) -> None:
        """Drop what was computed, and keep what was loaded: its parameters are what is watched."""
        loaded = [id(self.whole.values[each]) for each in self.loaders]
        self.runner.cache = {key: cached for key, cached in self.runner.cache.items() if id(cached.values) in loaded}

    def stop(self, at: int) -> str:
        """Stop at a step; returns the node that worked, or nothing if the run has fewer steps than that."""
        self.forget()
        self.bar.arm(self.headless, at)
        try:
            self.run()
            if self.bar.where:
                self.defects.append(f"{self.name}: step {at} ({self.bar.where}) did not stop it")
        except StoppedError:
            pass
        except Exception as problem:
            self.defects.append(f"{self.name}: step {at} ({self.bar.where}): {type(problem).__name__}: {problem}")
        self.look(f"{self.name}: after step {at} ({self.bar.where})")
        return self.bar.where.partition("] ")[2]

    def end(self) -> None:
        """Run to the end once more."""
        self.forget()
        self.bar.arm(self.headless, 0)
        self.run()
        self.look(f"{self.name}: after the last run")

    def look(self, when: str) -> None:
        """Files whole, models unchanged."""
        for file in (each for each in self.folder.rglob("*") if each.is_file()):
            if file.suffix in PICTURES:
                whole = hashlib.sha256(file.read_bytes()).hexdigest() in self.pictures
            elif file.suffix == ".safetensors":
                whole = readable(file)
            elif file.suffix == ".jsonl":
                whole = all(json.loads(line) for line in file.read_text().splitlines())
            elif file.suffix == ".lock":
                whole = True
            else:
                whole = file.suffix in {".json", ".csv", ".txt"} and file.stat().st_size > 0
            if not whole:
                self.defects.append(f"{when}: {file.relative_to(self.folder)} is not whole")
        if self.model_digest() != self.models:
            self.defects.append(f"{when}: a loaded model has changed")

    def model_digest(self) -> str:
        """Of all that was loaded."""
        return model_digest([self.whole.values[each] for each in sorted(self.loaders)])

    def digests(self) -> set[str]:
        """Of all pictures there are."""
        files = [each for each in self.folder.rglob("*") if each.suffix in PICTURES]
        return {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def readable(file: Path) -> bool:
    try:
        read_safetensors(file)
    except Exception:
        return False
    return True


def model_digest(values: Any) -> str:
    """Of every parameter and buffer below a value, and of whether it asks for gradients."""
    digest = hashlib.sha256()
    for tensor in _tensors(values, set(), 0):
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype} {tensor.requires_grad}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tensors(value: Any, seen: set[int], depth: int) -> Iterator[Tensor]:
    if id(value) in seen or depth > 8:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
        yield from value.buffers()
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(each, seen, depth + 1)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each, seen, depth + 1)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), seen, depth + 1)
    elif hasattr(value, "__dict__") and type(value).__module__.startswith("semantic_edit"):
        yield from _tensors(vars(value), seen, depth + 1)


def main() -> int:
    """Prints a line for each workflow; 0 when there was no defect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=5, help="of each workflow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--results", type=Path, help="a line for each workflow as it comes; what is there is not run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    done = []
    if options.results and options.results.exists():
        done = [json.loads(line) for line in options.results.read_text().splitlines()]
    for path in sorted(WORKFLOWS.glob("*.json")):
        if path.stem in OWN_MODEL or (options.only and path.stem not in options.only):
            continue
        if any(each["name"] == path.stem for each in done):
            continue
        done.append(tried(path, options.stops, options.seed))
        say(f"{path.stem}: {done[-1]}")
        if options.results:
            with options.results.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    lines = [(each["name"], each["steps"], each["stops"], ", ".join(each["nodes"])) for each in done]
    say(table(("workflow", "steps", "stops", "stopped in"), lines))
    defects = [defect for each in done for defect in each["defects"]]
    say(f"{sum(each['stops'] for each in done)} stops in {len(done)} workflows, {len(defects)} defects")
    for defect in defects:
        say(defect)
    return 1 if defects else 0


def tried(path: Path, stops: int, seed: int) -> dict[str, Any]:
    """One workflow."""
    rng = random.Random(f"{path.stem} {seed}")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(path, Path(folder))
        nodes: list[str] = []
        while len(nodes) < stops:
            nodes += [node for node in [trial.stop(rng.randint(1, trial.steps))] if node]
        trial.end()
    return {
        "name": path.stem, "steps": trial.steps, "stops": stops, "nodes": sorted(set(nodes)), "defects": trial.defects,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
