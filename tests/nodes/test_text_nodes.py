"""Text edits as ComfyUI wires them: scorer to training to file to pictures, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.common.types import EditDirection, GanLatent
from semantic_edit.editing.text.edit import TextEdit
from semantic_edit.models.errors import CheckpointError, InputError
from semantic_edit.models.loading.torchvision_stubs import allow_declaring

allow_declaring()  # a CPU wheel of torch has no operators for torchvision
SHIPPED = Path(__file__).resolve().parents[2] / "models" / "demo" / "scorers" / "demo_portraits"
QUICK = {"steps": 3, "samples": 12, "prompt": "a person with a hat"}


@pytest.fixture
def scorer(run_node, headless_host):
    folder = headless_host.settings.models / "semantic_edit" / "scorers" / "portraits"
    shutil.copytree(SHIPPED, folder)
    return run_node("LoadTextImageScorer", file="portraits/open_clip_model.safetensors")[0][0]


@pytest.fixture
def latents(run_node, tiny_generator):
    return run_node("SampleLatents", generator=tiny_generator, count=3, seed=3)[0][0]


@pytest.fixture
def parts(tiny_generator):
    upper = torch.zeros(1, *tiny_generator.resolution)
    upper[:, : tiny_generator.resolution[0] // 2] = 1
    return PartLabels(torch.stack([upper, 1 - upper], dim=1), ("upper", "lower"))


@pytest.fixture
def edit(tiny_generator):
    offset = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    selection = torch.zeros(2, 8)
    selection[0] = 1
    return TextEdit("a hat", offset, selection=selection, parts=("upper", "lower"), family=tiny_generator.family)


def one(latents):
    return GanLatent(latents.codes[:1], latents.names[:1], latents.family)


def train(run_node, generator, scorer, latents, **inputs):
    return run_node(
        "TrainTextEdit", generator=generator, scorer=scorer, latents=latents, **{"masks": "regions", **QUICK, **inputs}
    )[0]


def test_the_chain_from_scorer_to_pictures(run_node, tiny_generator, scorer, latents, parts):
    edit, losses, report = train(
        run_node, tiny_generator, scorer, latents, parts=parts, masks="attention in regions", changes="mapper"
    )
    assert losses.shape[0] == 1 and losses.shape[-1] == 3 and "a person with a hat" in report
    (file,), _ = run_node("SaveTextEdit", text_edit=edit, name="hat")
    (again, prompt), _ = run_node("LoadTextEdit", generator=tiny_generator, file=file)
    assert prompt == "a person with a hat"
    common = {"generator": tiny_generator, "latents": latents, "parts": parts}
    (images, mask), _ = run_node("ApplyTextEdit", text_edit=again, **common)
    (first, _), _ = run_node("ApplyTextEdit", text_edit=edit, **common)
    assert torch.equal(images, first) and images.shape == (3, 32, 32, 3) and mask.shape == (3, 32, 32)
    (chart, layers, largest), _ = run_node("RegionLayerMasks", text_edit=again, index=1, **common)
    assert chart.shape[0] == layers.shape[0] == 1 and torch.equal(largest, mask)
    (refined, report), _ = run_node("RefineMasks", text_edit=again, rows="0-3", threshold=0.0)
    assert refined.rows == (0, 1, 2, 3) and "rows 0, 1, 2, 3" in report and again.rows == tuple(range(8))
    (fewer, _), _ = run_node("ApplyTextEdit", text_edit=refined, **common)
    assert not torch.equal(fewer, images)
    report = run_node("RefineMasks", text_edit=again, drop_parts="upper")[0][1]
    assert "lower" in report and "upper" not in report


def test_parts_of_masks_and_of_features_serve_a_training(run_node, tiny_generator, scorer, latents):
    upper = torch.zeros(1, 8, 8)
    upper[:, :4] = 1
    (drawn, _), _ = run_node("PartsFromMasks", mask_1=upper, names="top")
    clustered, _ = run_node("PartsFromFeatures", generator=tiny_generator, latents=latents, count=3)
    for labels, names in ((drawn, ("top", "everything else")), (clustered[0], ("part 1", "part 2", "part 3"))):
        edit, _, _ = train(run_node, tiny_generator, scorer, latents, parts=labels)
        assert edit.parts == names


@pytest.mark.parametrize("score", ["both", "contrast", "directional", "cosine"])
def test_every_score_trains_with_several_wordings_and_copies(run_node, tiny_generator, scorer, latents, score):
    edit, _, report = train(
        run_node, tiny_generator, scorer, latents, masks="none", score=score, wording="several sentences", copies=2,
        person="demo portraits", samples=0,
    )  # fmt: skip
    assert edit.selection is None and "none, direction" in report


def test_one_sampled_picture_is_no_start_and_no_harm(run_node, tiny_generator, scorer, latents, parts):
    edit, _, _ = train(run_node, tiny_generator, scorer, latents, parts=parts, samples=1)
    assert bool(torch.isfinite(edit.offset).all())


def test_a_direction_gets_regions_of_its_own(run_node, tiny_generator, latents, parts):
    step = torch.randn(8, 16, generator=torch.Generator().manual_seed(4))
    direction = EditDirection(step, step, family=tiny_generator.family, name="lift")
    (edit, report), _ = run_node(
        "LocalizeDirection", generator=tiny_generator, direction=direction, latents=latents, parts=parts, steps=3
    )
    assert edit.parts == ("upper", "lower") and "rows" in report
    (images, _), _ = run_node("ApplyTextEdit", generator=tiny_generator, latents=latents, text_edit=edit, parts=parts)
    assert bool(torch.isfinite(images).all())
    options = dict(generator=tiny_generator, direction=direction, latents=latents, parts=parts)
    with pytest.raises(InputError, match="amount is 0"):
        run_node("LocalizeDirection", **options, amount=0.0, steps=3)


def test_a_recorded_text_edit_brings_everyone_to_one_state(run_node, tiny_generator, latents, parts, edit):
    fine = edit.refined(rows=[5, 6, 7])
    (recorded,), _ = run_node("RecordEdit", generator=tiny_generator, start=one(latents), text_edit=fine, name="hat")
    assert recorded.layers == (5, 6, 7) and recorded.has_example
    torch.testing.assert_close(recorded.direction[5:], edit.offset[5:])
    (strengths, alphas, _), _ = run_node("ComputeStrength", direction=recorded, latents=latents)
    assert alphas[0] == pytest.approx(1.0, abs=1e-4)
    moved = fine.changed(latents.codes, strengths.alpha)
    values = (moved * recorded.normal).sum(dim=(1, 2))
    torch.testing.assert_close(values, values[:1].expand(3), atol=1e-3, rtol=1e-4)
    common = {"generator": tiny_generator, "latents": latents, "text_edit": fine, "parts": parts}
    (images, _), _ = run_node("ApplyTextEdit", strengths=strengths, **common)
    (plain, _), _ = run_node("ApplyTextEdit", **common)
    torch.testing.assert_close(images[0], plain[0], atol=1e-3, rtol=0)
    assert not torch.allclose(images[1], plain[1], atol=1e-3)
    (fewer,), _ = run_node("RecordEdit", generator=tiny_generator, start=one(latents), text_edit=fine, rows="0-5")
    assert fewer.layers == (5,)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Neither of edited and text_edit"),
        ({"edited": True, "text_edit": True}, "Both of edited and text_edit"),
        ({"text_edit": True, "rows": "0-2"}, "None of the rows"),
        ({"text_edit": "stranger"}, "another-64x64"),
    ],
)
def test_a_record_that_cannot_be_is_refused(run_node, tiny_generator, latents, edit, inputs, message):
    fine = edit.refined(rows=[5, 6, 7])
    if inputs.get("text_edit") == "stranger":
        fine = fine.refined(family="another-64x64")
    values = {"edited": one(latents), "text_edit": fine}
    edited = {name: values.get(name, value) for name, value in inputs.items()}
    with pytest.raises(InputError, match=message):
        run_node("RecordEdit", generator=tiny_generator, start=one(latents), **edited)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"source": ""}, "source is empty"),
        ({"prompt": "a hat " * 30}, "62 tokens, the scorer 'portraits' reads 48"),
        ({"source": "a person " * 30}, "tokens, the scorer"),
        ({"source": "a person with a hat"}, "no difference"),
        ({"parts": None}, "need part labels"),
        ({"parts": "two"}, "part labels of 2 pictures, the latent has 3"),
        ({"masks": "everything"}, "Unknown masks 'everything'"),
        ({"score": "warmth"}, "Unknown score 'warmth'"),
        ({"rows": "90-99"}, "rows"),
        ({"picture_height": 24}, "24"),
        ({"person": "my neighbour"}, "Unknown person 'my neighbour'"),
        ({"outside": "wild"}, "Unknown outside 'wild'"),
    ],
)  # fmt: skip
def test_a_training_that_cannot_be_is_refused(run_node, tiny_generator, scorer, latents, parts, inputs, message):
    two = PartLabels(parts.masks.expand(2, -1, -1, -1), parts.names)
    labels = {"two": two, None: None}[inputs["parts"]] if "parts" in inputs else parts
    with pytest.raises(InputError, match=message):
        train(run_node, tiny_generator, scorer, latents, **{**inputs, "parts": labels})


def test_edits_and_codes_of_another_family_are_refused(run_node, tiny_generator, scorer, latents, parts, edit):
    stranger = replace(tiny_generator, family="another-64x64")
    with pytest.raises(InputError, match="another-64x64"):
        train(run_node, stranger, scorer, latents, parts=parts)
    (file,), _ = run_node("SaveTextEdit", text_edit=edit, name="")
    with pytest.raises(InputError, match="another-64x64"):
        run_node("LoadTextEdit", generator=stranger, file=file)
    with pytest.raises(InputError, match="another-64x64"):
        run_node("ApplyTextEdit", generator=stranger, latents=latents, text_edit=edit, parts=parts)
    foreign = edit.refined(family="another-64x64")
    for node, more in (("ApplyTextEdit", {}), ("RegionLayerMasks", {"index": 0})):
        with pytest.raises(InputError, match="another-64x64"):
            run_node(node, generator=tiny_generator, latents=latents, text_edit=foreign, parts=parts, **more)
    with pytest.raises(InputError, match="connect the part labels"):
        run_node("RegionLayerMasks", generator=tiny_generator, latents=latents, text_edit=edit, index=0)
    with pytest.raises(InputError, match="count from 0"):
        run_node("RegionLayerMasks", generator=tiny_generator, latents=latents, text_edit=edit, parts=parts, index=3)
    direction = EditDirection(edit.offset, edit.offset, family="another-64x64")
    with pytest.raises(InputError, match="another-64x64"):
        run_node(
            "LocalizeDirection", generator=tiny_generator, direction=direction, latents=latents, parts=parts, steps=1
        )


@pytest.mark.parametrize(
    ("prompt", "file"),
    [
        ("a hat", "a hat_00001_.safetensors"),
        ('./"man"/woman:\nwith a hat?', "man woman with a hat_00001_.safetensors"),
        ("帽子" * 100, "帽子" * 20 + "_00001_.safetensors"),
        ("?", "text edit_00001_.safetensors"),
    ],
)
def test_an_edit_is_saved_under_its_sentence_whatever_that_says(run_node, tiny_generator, edit, prompt, file):
    (saved,), _ = run_node("SaveTextEdit", text_edit=edit.refined(prompt=prompt), name="")
    assert saved == file
    assert run_node("LoadTextEdit", generator=tiny_generator, file=saved)[0][1] == prompt


def test_strengths_of_other_pictures_are_refused(run_node, tiny_generator, latents, parts, edit):
    (recorded,), _ = run_node("RecordEdit", generator=tiny_generator, start=one(latents), text_edit=edit)
    (strengths, *_), _ = run_node("ComputeStrength", direction=recorded, latents=one(latents))
    with pytest.raises(InputError, match="1 strengths for 3 pictures"):
        run_node(
            "ApplyTextEdit", generator=tiny_generator, latents=latents, text_edit=edit, parts=parts, strengths=strengths
        )


def test_files_that_are_missing_or_other_are_refused(run_node, headless_host, tiny_generator, scorer):
    models = headless_host.settings.models / "semantic_edit"
    with pytest.raises(InputError, match="There are no text edits yet"):
        run_node("LoadTextEdit", generator=tiny_generator)
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        run_node("LoadTextEdit", generator=tiny_generator, file="nowhere.safetensors")
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        run_node("LoadTextImageScorer", file="nowhere.safetensors")
    (models / "text_edits").mkdir(parents=True)
    shutil.copy(SHIPPED / "open_clip_model.safetensors", models / "text_edits" / "other.safetensors")
    with pytest.raises(CheckpointError, match="text_edit"):
        run_node("LoadTextEdit", generator=tiny_generator, file="other.safetensors")


def test_a_scorer_of_another_picture_size_is_fed_what_it_sees_or_refused(run_node, headless_host, scorer):
    """Its weights know no size; a config that promises another one is believed where the network can be built."""
    folder = headless_host.settings.models / "semantic_edit" / "scorers" / "portraits"
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 96
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="does not fit at"):
        run_node("LoadTextImageScorer", file="portraits/open_clip_model.safetensors")
    pictures = torch.zeros(2, 3, 50, 70)
    assert scorer.prepare(pictures).shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"rows": "90"}, "rows"),
        ({"drop_parts": "nose"}, "names 'nose', which is no part"),
        ({"drop_parts": "upper"}, "nothing is left"),
        ({"only_here": torch.zeros(1, 8, 8)}, "only_here is empty"),
        ({"also_here": torch.ones(2, 8, 8)}, "one mask"),
    ],
)
def test_a_refinement_that_cannot_be_is_refused(run_node, edit, inputs, message):
    with pytest.raises(InputError, match=message):
        run_node("RefineMasks", text_edit=edit, **inputs)
