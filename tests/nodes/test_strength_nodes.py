"""Normals and measured strengths as ComfyUI wires them."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.common.types import EditDirection, GanLatent
from semantic_edit.models import InputError
from semantic_edit.models.encoders.encoder import Encoder, EncoderConfig, save_encoder
from semantic_edit.nodes import node_classes
from semantic_edit.nodes.common.feature_space import feature_space


@pytest.fixture
def batch(run_node, tiny_generator):
    (latent, *_), _ = run_node("SampleLatents", generator=tiny_generator, count=4, seed=3)
    return latent


@pytest.fixture
def pair(tiny_generator, batch):
    """The first code before and after an edit."""
    step = 0.5 * torch.randn(1, 8, 16, generator=torch.Generator().manual_seed(4))
    start = GanLatent(batch.codes[:1], batch.names[:1], batch.family)
    return start, GanLatent(start.codes + step, start.names, start.family)


@pytest.fixture
def encoder_file(headless_host, tiny_generator):
    """A random encoder of the tiny generator's family among the user's files."""
    torch.manual_seed(3)
    network = Encoder(EncoderConfig(16, 4, 8, 16, 12), tiny_generator.family).eval()
    folder = headless_host.settings.models / "semantic_edit" / "encoders"
    save_encoder(folder / "tiny.safetensors", network)
    return "tiny.safetensors"


def record(run_node, generator, pair, **more):
    return run_node("RecordEdit", generator=generator, start=pair[0], edited=pair[1], name="lift", **more)[0][0]


def learn(run_node, generator, edit, **more):
    return run_node("OptimizeDirection", generator=generator, edit=edit, **{"samples": 64, **more})[0][0]


def test_strengths_are_corrected_on_pictures_when_a_generator_is_connected(run_node, tiny_generator, batch, pair):
    direction = learn(run_node, tiny_generator, record(run_node, tiny_generator, pair))
    (plain, *_), _ = run_node("ComputeStrength", direction=direction, latents=batch)
    (strengths, alphas, report), _ = run_node(
        "ComputeStrength", direction=direction, latents=batch, generator=tiny_generator
    )
    assert strengths.confidence.shape == (4,) and plain.confidence is None
    assert "measured on pictures" in report and "confidence" in report and len(alphas) == 4
    (none, *_), _ = run_node(
        "ComputeStrength", direction=direction, latents=batch, generator=tiny_generator, corrections=0
    )
    torch.testing.assert_close(none.alpha, plain.alpha)


def test_a_direction_from_a_file_is_measured_too(run_node, tiny_generator, batch, pair):
    edit = record(run_node, tiny_generator, pair)
    (strengths, *_), _ = run_node(
        "ComputeStrength", direction=edit, latents=batch, generator=tiny_generator, corrections=1
    )
    assert edit.score is None and strengths.confidence is not None


def test_features_come_from_the_familys_encoder_or_from_the_generator(tiny_generator, encoder_file):
    encoder_features = feature_space(tiny_generator, encoder_file)
    assert encoder_features.name == encoder_file and encoder_features.sees_pictures
    assert feature_space(tiny_generator).key is encoder_features.key  # the file is read once
    assert not feature_space(tiny_generator, "generator's own").sees_pictures
    assert feature_space(tiny_generator, "demo portraits").read(torch.zeros(1, 3, 64, 64)).shape == (1, 15)
    stranger = replace(tiny_generator, family="other")
    assert not feature_space(stranger).sees_pictures
    with pytest.raises(InputError, match="belongs to another generator"):
        feature_space(stranger, encoder_file)
    with pytest.raises(InputError, match="Unknown features 'x'"):
        feature_space(tiny_generator, "x")


def test_a_reference_picture_and_a_number_set_the_target(run_node, tiny_generator, batch, pair, encoder_file):
    direction = learn(run_node, tiny_generator, record(run_node, tiny_generator, pair))
    (image,), _ = run_node("GenerateImages", generator=tiny_generator, latents=pair[1])
    common = {"direction": direction, "latents": batch, "generator": tiny_generator}
    (_, _, report), _ = run_node("ComputeStrength", reference_image=image, **common)
    assert "the reference picture" in report
    (_, _, report), _ = run_node("ComputeStrength", mode="number", target=1.0, **common)
    assert "goal +1.00 from the number given" in report
    with pytest.raises(InputError, match="More than one target"):
        run_node("ComputeStrength", mode="number", reference_image=image, **common)
    with pytest.raises(InputError, match="needs the generator"):
        run_node("ComputeStrength", direction=direction, latents=batch, reference_image=image)
    with pytest.raises(InputError, match="holds 2 pictures"):
        run_node("ComputeStrength", reference_image=image.repeat(2, 1, 1, 1), **common)


def test_a_reference_picture_is_seen_by_the_features_that_were_chosen(run_node, tiny_generator, batch, pair):
    edit = record(run_node, tiny_generator, pair)
    learned = learn(run_node, tiny_generator, edit, features="generator's own")
    assert learned.score is not None and not learned.score.space.sees_pictures
    (image,), _ = run_node("GenerateImages", generator=tiny_generator, latents=pair[1])
    inputs = {"direction": learned, "latents": batch, "generator": tiny_generator, "reference_image": image}
    for corrections in (0, 1):
        run_node("ComputeStrength", features="demo portraits", corrections=corrections, **inputs)
    with pytest.raises(InputError, match="can only be read from codes"):
        run_node("ComputeStrength", features="generator's own", **inputs)


def test_a_recorded_attribute_measures_the_edit(run_node, tiny_generator, batch, pair):
    step = pair[1].codes[0] - pair[0].codes[0]
    normal = step + 0.5 * torch.randn(8, 16, generator=torch.Generator().manual_seed(8))
    attribute = EditDirection(step, normal, family=tiny_generator.family, name="lift")
    edit = record(run_node, tiny_generator, pair, attribute=attribute)
    torch.testing.assert_close(edit.normal, normal)
    learned = learn(run_node, tiny_generator, edit)
    torch.testing.assert_close(learned.normal, normal)
    published = learn(run_node, tiny_generator, edit, variant="batch", steps=2, normal="direction")
    assert torch.equal(published.normal, published.direction) and published.score is None


def test_a_scorer_can_be_the_space(run_node, tiny_generator, pair):
    class Scorer:
        name = "colours"

        def encode_images(self, pictures):
            return torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)

    learned = learn(run_node, tiny_generator, record(run_node, tiny_generator, pair), scorer=Scorer(), samples=300)
    assert "scorer colours" in learned.method


@pytest.mark.parametrize("node", ["OptimizeDirection", "ComputeStrength"])
def test_an_encoder_that_is_replaced_is_read_again(headless_host, encoder_file, node):
    (node_class,) = [
        candidate for candidate in node_classes() if candidate.GET_SCHEMA().node_id == f"SemanticEdit{node}"
    ]
    fingerprint = node_class.fingerprint_inputs(features=encoder_file, seed=0)
    path = headless_host.model_path("encoders", encoder_file)
    assert node_class.fingerprint_inputs(features=encoder_file, seed=0) == fingerprint
    os.utime(path, (1, 1))
    assert node_class.fingerprint_inputs(features=encoder_file, seed=0) != fingerprint
    assert node_class.fingerprint_inputs() == node_class.fingerprint_inputs(features="automatic") == ""


def test_learning_to_measure_reports_while_it_draws(run_node, headless_host, monkeypatch, tiny_generator):
    """At full size five hundred pictures take minutes: each batch of them is a step, where a stop ends it."""
    told = []
    monkeypatch.setattr(
        headless_host, "progress", lambda total, label="": lambda step, total, preview=None: told.append(step)
    )
    before, after, latents = (
        run_node("SampleLatents", generator=tiny_generator, count=1, seed=k)[0][0] for k in (1, 2, 3)
    )
    direction = run_node("DirectionFromCodes", before=before, after=after)[0][0]
    told.clear()
    run_node(
        "ComputeStrength", generator=tiny_generator, direction=direction, latents=latents, features="generator's own"
    )
    assert told[0] <= 512 + 96 <= max(told) and told[-1] < max(told)  # what it learns on, then what it measures
