"""The main job as shipped: the workflow file on the demo checkpoints, and what the demo command leaves behind."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from semantic_edit.headless.commands.demo import WORKFLOW, RunValues, face_likeness, left_out, write_results
from semantic_edit.headless.run.catalog import describe
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.assign import assign
from semantic_edit.headless.workflow.document import read_document
from semantic_edit.models.encoders.encoder import save_encoder

QUICK = ["Load Demo Photos.limit=3", "Invert Images.steps=4", "Optimize Direction.steps=2"]


@pytest.fixture
def job(headless_host):
    """A runner with the workflow, cut short: few photos, few steps."""
    runner = Runner(headless_host)
    prompt = runner.prepare(read_document(WORKFLOW))
    assign(prompt, QUICK, describe(runner.nodes))
    return runner, prompt


def types(prompt, ids):
    return sorted(prompt.nodes[node_id]["class_type"].removeprefix("SemanticEdit") for node_id in ids)


def test_moving_the_strength_runs_only_the_tail(job):
    runner, prompt = job
    first = runner.run(prompt)
    assert len(first.ran) == len(prompt.nodes)
    assign(prompt, ["Compute Strength.strength=0.4"], describe(runner.nodes))
    second = runner.run(prompt)
    assert types(prompt, second.ran) == [
        "ApplyEdit", "ComputeStrength", "ConsistencyReport", "GenerateImages", "MeasurePortraits", "PreviewImage",
        "SaveImage",
    ]  # fmt: skip
    again = runner.run(prompt)
    assert again.ran == []


def test_what_the_demo_command_leaves_behind(job, tmp_path):
    runner, prompt = job
    values = RunValues(prompt, runner.run(prompt))
    paths = write_results(values, tmp_path / "demo")
    table = json.loads(paths["strengths"].read_text())
    names = [row["name"] for row in table["pictures"]]
    assert len(names) == 3 and table["edit"] == values.value("SemanticEditOptimizeDirection").name
    direction = values.value("SemanticEditOptimizeDirection")
    before, after = values.value("SemanticEditInvertImages"), values.value("SemanticEditApplyEdit")
    for k, row in enumerate(table["pictures"]):
        moved = before.codes[k] + row["strength"] * direction.direction
        assert torch.allclose(after.codes[k], moved, atol=1e-3)
        for state in ("before", "after"):
            assert Image.open(paths["pictures"] / f"{row['name']}_{state}.png").size == (128, 128)
    sheet = Image.open(paths["contact sheet"])
    assert sheet.height >= 3 * 128 and sheet.width >= 3 * 128
    assert Image.open(paths["plot"]).size[0] > 400
    assert not list((tmp_path / "demo").rglob("*.partial"))


def test_a_face_that_the_generator_cannot_paint_stays_off_the_sheet(job, tmp_path):
    runner, prompt = job
    values = RunValues(prompt, runner.run(prompt))
    full = Image.open(write_results(values, tmp_path / "full")["contact sheet"])
    assert left_out(values) == ""
    with torch.inference_mode():
        values.value("SemanticEditInvertImages", 1)[1, 40:100] = 0.5
    assert [bool(like < 20) for like in face_likeness(values)] == [False, True, False]
    assert left_out(values).startswith("bela (")
    assert Image.open(write_results(values, tmp_path / "short")["contact sheet"]).width == full.width - 132
    assert (tmp_path / "short" / "pictures" / "bela_after.png").is_file()


def test_the_same_seed_gives_the_same_pictures(job, headless_host):
    runner, prompt = job
    first = RunValues(prompt, runner.run(prompt)).value("SemanticEditGenerateImages")
    second = RunValues(prompt, Runner(headless_host).run(prompt)).value("SemanticEditGenerateImages")
    assert torch.equal(first, second)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_photos_of_any_shape_are_taken(run_node, tiny_generator, tiny_encoder, headless_host, fit):
    """Encode, invert and adapt alike; what a border adds does not count."""
    folder = headless_host.settings.models / "semantic_edit" / "encoders"
    folder.mkdir(parents=True)
    save_encoder(folder / "tiny.safetensors", tiny_encoder, {})
    photos = torch.rand(2, 40, 60, 3, generator=torch.Generator().manual_seed(4))
    inputs = {"generator": tiny_generator, "images": photos, "fit": fit}
    (codes,), _ = run_node("EncodeImages", file="tiny.safetensors", **inputs)
    (codes, redrawn, *_), _ = run_node("InvertImages", steps=2, start=codes, **inputs)
    assert len(codes) == 2 and redrawn.shape == (2, 32, 32, 3)
    mask = torch.zeros(2, 40, 60)
    mask[:, :, :20] = 1
    adapted = run_node("AdaptGenerator", generator=tiny_generator, photos=photos, latents=codes, mask=mask, fit=fit)
    assert adapted[0][1].shape == (2, 32, 32, 3)
