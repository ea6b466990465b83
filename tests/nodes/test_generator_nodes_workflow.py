"""The shipped workflow "generate and blend", run as a whole without ComfyUI, on a small random generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.document import read_document
from semantic_edit.models import save_generator
from semantic_edit.models.files.latents import extract_latent

TEMPLATE = Path(__file__).resolve().parents[2] / "workflows" / "generate_and_blend.json"


@pytest.fixture
def runner(headless_host, tiny_network):
    """A runner whose models folder has a small generator under the demo generator's name."""
    folder = headless_host.settings.models / "semantic_edit" / "generators"
    save_generator(folder / "demo_portraits.safetensors", tiny_network)
    return Runner(headless_host)


def run(runner, **changes):
    prompt = runner.prepare(read_document(TEMPLATE))
    for node in prompt.nodes.values():
        title = node["_meta"]["title"]
        node["inputs"].update({name.split(":")[1]: v for name, v in changes.items() if name.split(":")[0] == title})
    return prompt, runner.run(prompt)


def values(prompt, result, title):
    (node_id,) = (node_id for node_id, node in prompt.nodes.items() if node["_meta"]["title"] == title)
    return result.values[node_id][0][0]


def test_it_runs_and_saves_pictures_that_carry_their_codes(runner, headless_host):
    prompt, result = run(runner)
    one_pose = values(prompt, result, "One pose, five looks")
    drawn = values(prompt, result, "Sample Latents")
    assert torch.equal(one_pose.codes[:, :3], drawn.codes[:1, :3].expand(5, -1, -1))
    assert torch.equal(one_pose.codes[:, 3:], drawn.codes[1:, 3:])
    folder = headless_host.output_directory() / "semantic_edit"
    saved = sorted((folder / "latents").glob("*.png"))
    assert len(saved) == 5 and len(list(folder.glob("between_*.png"))) == 5
    for k, picture in enumerate(saved):
        assert torch.equal(extract_latent(picture).codes, one_pose.codes[k : k + 1])
        assert Image.open(picture).size == (32, 32)


def test_a_code_from_a_saved_picture_makes_that_picture_again(runner, headless_host, run_node):
    run(runner)
    folder = headless_host.output_directory() / "semantic_edit" / "latents"
    picture = sorted(folder.glob("*.png"))[2]
    pixels = np.asarray(Image.open(picture)).astype(int)
    picture.rename(headless_host.input_directory() / picture.name)
    (generator,), _ = run_node("LoadGenerator", file="demo_portraits.safetensors")
    (codes,), _ = run_node("LoadLatents", source="picture", file="", picture=picture.name)
    (images,), _ = run_node("GenerateImages", generator=generator, latents=codes)
    again = (images[0] * 255).clamp(0, 255).to(torch.uint8).numpy().astype(int)
    # One picture alone and five at once may differ in the last bit of float32, which can tip a pixel by one.
    assert np.abs(pixels - again).max() <= 1


def test_moving_the_amount_runs_only_what_depends_on_it(runner):
    run(runner)
    prompt, result = run(runner, **{"In between:amount": 0.25})
    ran = sorted(prompt.nodes[node_id]["_meta"]["title"] for node_id in result.ran)
    assert ran == ["Generate Images", "Half of the way", "In between"]
