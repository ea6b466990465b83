"""Memory on a real ComfyUI: everything unloaded between two runs, and the server's flags for little memory.

ComfyUI refuses --lowvram and --novram beside --cpu, and without a card it needs --cpu. What they change, loading a
model in parts, is what `host.place` asks to be left out.
"""

from __future__ import annotations

import json
import time
import urllib.request

from PIL import Image
from semantic_edit.offline.server import run_on_server

PORTRAITS = "demo_portraits.safetensors"


def graph(seed: int) -> dict:
    """Sampled portraits, encoded and drawn again: two networks at work."""
    nodes = {
        "load": ("SemanticEditLoadGenerator", {"file": PORTRAITS}),
        "draw": (
            "SemanticEditSampleLatents",
            {
                "generator": ["load", 0],
                "count": 4,
                "seed": seed,
                "truncation": 1.0,
                "truncation_layers": 0,
                "label": -1,
            },
        ),
        "make": (
            "SemanticEditGenerateImages",
            {"generator": ["load", 0], "latents": ["draw", 0], "noise": "none", "noise_seed": 0},
        ),
        "encode": ("SemanticEditEncodeImages", {"generator": ["load", 0], "images": ["make", 0], "file": PORTRAITS}),
        "again": (
            "SemanticEditGenerateImages",
            {"generator": ["load", 0], "latents": ["encode", 0], "noise": "none", "noise_seed": 0},
        ),
        "save": ("SaveImage", {"images": ["again", 0], "filename_prefix": f"memory/{seed}"}),
    }
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def run(server, seed, folder):
    found = run_on_server(server.url, graph(seed), [], None, folder, print)
    return [Image.open(path).convert("RGB").tobytes() for path in sorted(found)]


def test_everything_may_be_unloaded_between_two_runs(comfyui, tmp_path):
    first = run(comfyui, 1, tmp_path / "a")
    assert len(first) == 4
    for count in range(2):
        body = json.dumps({"unload_models": True, "free_memory": count == 1}).encode()
        request = urllib.request.Request(comfyui.url + "/free", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=30).read()
        time.sleep(2)  # the server frees when its queue has nothing to do
        other = run(comfyui, 2 + count, tmp_path / f"b{count}")
        assert len(other) == 4 and other != first
        assert run(comfyui, 1, tmp_path / f"c{count}") == first


def test_a_server_that_keeps_nothing(start_server, comfyui, tmp_path):
    """Flags for little memory that go with --cpu: models leave at once, and no result is kept between two runs."""
    with start_server("--disable-smart-memory", "--cache-none", "--cpu-vae") as server:
        assert run(server, 1, tmp_path / "a") == run(comfyui, 1, tmp_path / "b")
