"""Long work on a real ComfyUI: it shows its steps, stops when asked, and leaves the queue."""

import threading
import time

import pytest
from semantic_edit.headless.workflow.document import Prompt
from semantic_edit.models import save_generator
from semantic_edit.offline.server import Server, ServerError, run_on_server


@pytest.fixture
def endless(base, tiny_network):
    """An inversion that would take hours, in API format."""
    save_generator(base / "models" / "semantic_edit" / "generators" / "endless.safetensors", tiny_network)
    sample = {"generator": ["load", 0], "count": 1, "seed": 1, "truncation": 1.0, "truncation_layers": 0, "label": -1}
    steps = {"space": "w+", "steps": 10_000, "learning_rate": 0.01, "pull": 0.0, "perceptual": 1.0}
    nodes = {
        "load": ("SemanticEditLoadGenerator", {"file": "endless.safetensors"}),
        "draw": ("SemanticEditSampleLatents", sample),
        "make": (
            "SemanticEditGenerateImages",
            {"generator": ["load", 0], "latents": ["draw", 0], "noise": "none", "noise_seed": 0},
        ),
        "batch": ("RepeatImageBatch", {"image": ["make", 0], "amount": 16}),
        "invert": ("SemanticEditInvertImages", {"generator": ["load", 0], "images": ["batch", 0], **steps}),
        "show": ("PreviewImage", {"images": ["invert", 1]}),
    }
    return {title: {"class_type": kind, "inputs": inputs} for title, (kind, inputs) in nodes.items()}


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_work_that_is_cancelled_stops_and_work_that_waits_leaves_the_queue(comfyui, endless, tmp_path):
    server = Server(comfyui.url)

    def queued(name):
        return [item[1] for item in server.get("/queue")[name]]

    failures = []

    def run():
        with pytest.raises(ServerError) as caught:
            run_on_server(comfyui.url, endless, [], None, tmp_path, print)
        failures.append(str(caught.value))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: queued("queue_running"))
    (running,) = queued("queue_running")
    waiting = server.queue(
        Prompt({**endless, "draw": {**endless["draw"], "inputs": {**endless["draw"]["inputs"], "seed": 2}}})
    )
    assert queued("queue_pending") == [waiting]
    server.cancel(waiting)
    assert queued("queue_pending") == [] and queued("queue_running") == [running]
    time.sleep(2)  # well inside the optimisation
    begun = time.monotonic()
    server.cancel(running)
    thread.join(60)
    assert not thread.is_alive() and time.monotonic() - begun < 30
    assert failures == ["The work was stopped on the server."]
    assert list(tmp_path.iterdir()) == []


def test_the_generator_is_unharmed_by_an_interruption(comfyui, endless, tmp_path):
    del endless["invert"]
    endless["show"]["inputs"]["images"] = ["make", 0]
    assert len(run_on_server(comfyui.url, endless, [], None, tmp_path, print)) == 1
