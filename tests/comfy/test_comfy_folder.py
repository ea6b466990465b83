"""The strength slider and whole folders on a real ComfyUI: only the tail runs again, and a stopped job goes on."""

import json
import threading
import time

import pytest
import torch
from PIL import Image
from semantic_edit.headless.workflow.document import Prompt
from semantic_edit.models import load_generator, save_generator
from semantic_edit.models.files.direction import write_direction
from semantic_edit.offline.server import Server, ServerError, run_on_server


@pytest.fixture
def generator(base, tiny_network):
    """A generator, an edit with its example's states, and forty pictures, where the server finds them."""
    models = base / "models" / "semantic_edit"
    generator = load_generator(save_generator(models / "generators" / "tiny_folder.safetensors", tiny_network))
    d = 0.3 * torch.randn(8, 16, generator=torch.Generator().manual_seed(2))
    fields = {"layers": (0, 1, 2), "start": 0.1, "offset": 2.0, "family": generator.family, "name": "smile"}
    write_direction(models / "directions" / "tiny_smile.safetensors", d, **fields)
    folder = base / "input" / "forty"
    folder.mkdir(exist_ok=True)
    for k in range(40):
        Image.new("RGB", (32, 32), (6 * k, 80, 240 - 5 * k)).save(folder / f"{k}.png")
    return generator


LOAD = {
    "load": ("LoadGenerator", {"file": "tiny_folder.safetensors"}),
    "edit": ("LoadDirection", {"generator": ["load", 0], "file": "tiny_smile.safetensors", "rows": "as saved"}),
}


def prompt(nodes, **preview):
    whole = {title: {"class_type": f"SemanticEdit{kind}", "inputs": inputs} for title, (kind, inputs) in nodes.items()}
    for title, source in preview.items():
        whole[title] = {"class_type": "PreviewImage", "inputs": {"images": [source, 0]}}
    return Prompt(whole)


def slider(strength, info):
    inputs = {"direction": ["edit", 0], "latents": ["draw", 0]}
    sample = {"generator": ["load", 0], "count": 3, "seed": 1, "truncation": 1.0, "truncation_layers": 0, "label": -1}
    return prompt(
        {
            **LOAD,
            "draw": ("SampleLatents", sample),
            "strength": ("ComputeStrength", {**defaults(info, "ComputeStrength"), **inputs, "strength": strength}),
            "apply": ("ApplyEdit", {**inputs, "strength": ["strength", 0]}),
            "make": (
                "GenerateImages",
                {"generator": ["load", 0], "latents": ["apply", 0], "noise": "constant", "noise_seed": 0},
            ),
        },
        show="make",
    )


def defaults(info, kind):
    """The values that a new node shows."""
    values = {}
    for group in info[f"SemanticEdit{kind}"]["input"].values():
        for name, (socket, *rest) in group.items():
            options = rest[0] if rest else {}
            listed = socket if isinstance(socket, list) else options.get("options")
            if "default" in options or listed:
                values[name] = options.get("default", listed[0] if listed else None)
    return values


def cached(history):
    return {node for name, message in history["status"]["messages"] if name == "execution_cached"
            for node in message["nodes"]}  # fmt: skip


def test_a_move_of_the_slider_runs_only_strength_apply_and_synthesis(comfyui, generator):
    server, info = Server(comfyui.url), comfyui.get("/object_info")
    server.wait(server.queue(slider(1.0, info)))
    history = server.wait(server.queue(slider(0.5, info)))
    assert history["status"]["status_str"] == "success"
    assert cached(history) == {"load", "edit", "draw"}


def folder_job(info):
    inputs = {"generator": ["load", 0], "direction": ["edit", 0], "folder": "forty", "name": "stopped"}
    values = {**defaults(info, "EditFolder"), **inputs, "encoder": "none", "steps": 30}
    return prompt({**LOAD, "folder": ("EditFolder", values)}, show="folder").nodes


def test_a_folder_that_is_stopped_goes_on_at_the_next_queue(comfyui, generator, tmp_path):
    info, failures = comfyui.get("/object_info"), []
    manifest = comfyui.base / "output" / "semantic_edit" / "batches" / "stopped" / "manifest.jsonl"

    def run():
        with pytest.raises(ServerError) as caught:
            run_on_server(comfyui.url, folder_job(info), [], None, tmp_path / "first", print)
        failures.append(str(caught.value))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 120
    while not (manifest.is_file() and manifest.read_bytes().count(b"\n") >= 8):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server = Server(comfyui.url)
    server.cancel(server.get("/queue")["queue_running"][0][1])
    thread.join(60)
    assert failures == ["The work was stopped on the server."]
    first = [json.loads(line)["file"] for line in manifest.read_text().splitlines()]
    assert 8 <= len(first) < 40
    assert len(run_on_server(comfyui.url, folder_job(info), [], None, tmp_path / "second", print)) == 2
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [record["file"] for record in records] == [f"{k}.png" for k in range(40)]
    assert all((manifest.parent / record["result"]).stat().st_size == record["result_bytes"] for record in records)
    assert not list(manifest.parent.glob("*.partial"))
