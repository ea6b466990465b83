"""The strength slider on a graph of 32 portraits: what a move of it runs again, and how long that takes.

The graph: generator, 32 sampled codes, the first one slid along an attribute and recorded, a direction optimised from
that, strength, apply, synthesis, preview. It is run whole once, and then with another strength each time, by the same
runner that serves shared workflows (ComfyUI caches by the same rule; tests/comfy shows it there).

    python benchmarks/slider.py [--portraits 32] [--moves 7] [--threads 2] [--steps 60]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from _harness import machine_facts, say, table
from semantic_edit.headless import HeadlessSettings, use_headless
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.document import Prompt

TAIL = ["strength", "apply", "draw", "show"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=32)
    parser.add_argument("--moves", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60, help="of the direction's optimisation")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    say(machine_facts())
    with tempfile.TemporaryDirectory() as folder:
        headless = use_headless(HeadlessSettings(output=Path(folder), device="cpu"))
        runner = Runner(headless)
        prompts = [graph(options.portraits, options.steps, 1.0 - 0.1 * k) for k in range(options.moves + 1)]
        whole, ran, _ = timed(runner, prompts[0])
        moves = [timed(runner, prompt) for prompt in prompts[1:]]
        again = {tuple(found) for _, found, _ in moves}
        if again != {tuple(TAIL)}:
            raise SystemExit(f"a move ran {again}, expected {TAIL}")
    wall, cpu = (sorted(each[k] for each in moves) for k in (0, 2))
    rows = [
        ("whole graph", len(ran), f"{whole:.1f} s", ""),
        ("a move of the slider", len(TAIL), f"{median(wall):.2f} s ({wall[0]:.2f}-{wall[-1]:.2f})",
         f"{median(cpu):.2f} s"),
    ]  # fmt: skip
    say(table((f"{options.portraits} portraits, {options.threads} threads", "nodes run", "wall", "processor"), rows))


def timed(runner: Runner, prompt: Prompt) -> tuple[float, list[str], float]:
    """Seconds, the nodes that ran, and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    ran = runner.run(prompt).ran
    return time.perf_counter() - wall, ran, time.process_time() - cpu


def graph(portraits: int, steps: int, strength: float) -> Prompt:
    """The workflow in API format."""
    file, noise = {"file": "demo_portraits.safetensors"}, {"noise": "constant", "noise_seed": 0}
    nodes = {
        "generator": ("LoadGenerator", file),
        "codes": ("SampleLatents", {"generator": ["generator", 0], "count": portraits, "seed": 4}),
        "attribute": ("LoadDirection", {"generator": ["generator", 0], "file": "turn_head.safetensors"}),
        "slide": (
            "SlideAttribute",
            {"generator": ["generator", 0], "latents": ["codes", 0], "direction": ["attribute", 0], "amount": 1.5},
        ),
        "record": ("RecordEdit", {"generator": ["generator", 0], "start": ["slide", 0], "edited": ["slide", 1]}),
        "optimize": (
            "OptimizeDirection", {"generator": ["generator", 0], "edit": ["record", 0], "steps": steps},
        ),
        "strength": (
            "ComputeStrength", {"direction": ["optimize", 0], "latents": ["codes", 0], "strength": strength},
        ),
        "apply": (
            "ApplyEdit", {"latents": ["codes", 0], "direction": ["optimize", 0], "strength": ["strength", 0]},
        ),
        "draw": ("GenerateImages", {"generator": ["generator", 0], "latents": ["apply", 0], **noise}),
    }  # fmt: skip
    whole = {name: _filled(f"SemanticEdit{kind}", inputs) for name, (kind, inputs) in nodes.items()}
    whole["show"] = {"class_type": "PreviewImage", "inputs": {"images": ["draw", 0]}, "_meta": {}}
    return Prompt(whole)


def _filled(class_type: str, inputs: dict) -> dict:
    """A node with the defaults of what is not given."""
    from semantic_edit.headless.run.catalog import describe, installed_nodes
    from semantic_edit.headless.workflow.widgets import choices, has_widget, input_specs

    info = describe({class_type: installed_nodes()[class_type]})[class_type]
    values = {}
    for name, _, kind, options in input_specs(info):
        if has_widget(kind, options):
            listed = choices(kind, options)
            values[name] = options.get("default", listed[0] if listed else None)
    return {"class_type": class_type, "inputs": {**values, **inputs}, "_meta": {}}


if __name__ == "__main__":
    main()
