"""Dissection finds the units that were planted, and says how sure it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from semantic_edit.editing.paint import dissection
from semantic_edit.editing.paint.concepts import ConceptUnits
from semantic_edit.editing.paint.dissection import FEWEST, dissect, dissect_and_rank, middle_layer
from semantic_edit.editing.paint.unit_effects import shares_along
from semantic_edit.editing.paint.unit_pictures import picture_units
from semantic_edit.models.errors import CheckpointError, InputError
from semantic_edit.models.files.concepts import STEPS, TENSORS, read_concepts, write_concepts
from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

LAYER, UNIT = 4, 5
NAMES = ("thing", "rest")


@pytest.fixture
def codes(tiny_generator):
    return tiny_generator.map(torch.randn(96, 16, generator=torch.Generator().manual_seed(2)))


def planted_at(tiny_generator, codes, share):
    """A segmenter that sees unit UNIT: the thing is where it is among its highest values."""
    features = tiny_generator.features(codes, [LAYER])[LAYER][:, UNIT]
    level = torch.quantile(features.flatten(), 1 - share)

    def label(pictures, part):
        thing = (F.interpolate(features[part, None], (32, 32), mode="bilinear") > level).float()
        return torch.cat([thing, 1 - thing], dim=1)

    return label


@pytest.fixture
def planted(tiny_generator, codes):
    return planted_at(tiny_generator, codes, 1 / 8)


@pytest.mark.parametrize(("threshold", "share"), [("information", 1 / 8), ("top 1 %", 0.01)])
def test_the_planted_unit_is_found(tiny_generator, codes, threshold, share):
    label, seen = planted_at(tiny_generator, codes, share), []
    concepts = dissect(
        tiny_generator, codes, label, NAMES, LAYER, threshold, progress=lambda *step: seen.append(step[:2])
    )
    thing = concepts.iou[0]
    assert int(thing.argmax()) == UNIT and thing[UNIT] > 0.6
    assert concepts.ranked("thing", 1) == (UNIT,)
    assert concepts.inside[0, UNIT] > concepts.outside[0, UNIT]
    assert seen[-1] == (192, 192) and [step for step, _ in seen] == sorted(step for step, _ in seen)
    again = dissect(tiny_generator, codes, label, NAMES, LAYER, threshold, chunk=96)
    assert torch.allclose(again.iou, concepts.iou, atol=1e-3)


def test_kept_features_are_those_of_their_own_pictures(tiny_generator, codes, planted, monkeypatch):
    """The last part is smaller, so it may fit where the parts before it did not."""
    concepts = dissect(tiny_generator, codes[:72], planted, NAMES, LAYER)
    monkeypatch.setattr(dissection, "_CACHE_BYTES", 32 * 4 * 12 * 16 * 16)  # two parts of 16 pictures
    again = dissect(tiny_generator, codes[:72], planted, NAMES, LAYER)
    assert torch.equal(again.iou, concepts.iou) and torch.allclose(again.outside, concepts.outside)


def test_of_many_pictures_each_gives_fewer_samples(tiny_generator, codes, planted, monkeypatch):
    concepts = dissect(tiny_generator, codes, planted, NAMES, LAYER)
    kept = []
    monkeypatch.setattr(dissection, "_MAX_SAMPLES", 1024)
    monkeypatch.setattr(dissection, "_UNITS_AT_ONCE", 5)
    randint = torch.randint
    monkeypatch.setattr(
        torch, "randint", lambda high, size, **more: kept.append(size[0]) or randint(high, size, **more)
    )
    sparse = dissect(tiny_generator, codes, planted, NAMES, LAYER)
    assert sum(kept) <= 1024 and len(kept) == len(codes)
    assert sparse.ranked("thing", 1) == (UNIT,) and torch.allclose(sparse.top, concepts.top, atol=0.3)


def test_the_step_in_w_raises_the_concept(tiny_generator, codes, planted):
    concepts = dissect(tiny_generator, codes, planted, NAMES, LAYER)
    absent, present = concepts.levels[0].tolist()
    assert present > absent and float(concepts.steps[0, 0] @ concepts.normals[0]) > 0


def bright_and_dark(pictures):
    bright = torch.sigmoid(2 * pictures.mean(dim=1, keepdim=True))
    return torch.cat([bright, 1 - bright], dim=1)


def test_shares_of_units_add_up_to_the_whole_change(tiny_generator, codes):
    features = tiny_generator.features(codes[:4], [LAYER])[LAYER].clone()
    goal, region = torch.linspace(-3, 6, 12), torch.ones(4, 1, 16, 16)
    shares = shares_along(tiny_generator, LAYER, codes[:4], features, region, goal, bright_and_dark, 0)

    def areas(hook=None):
        image = tiny_generator.network.synthesis(codes[:4], SynthesisOptions(hook=hook)).image
        return bright_and_dark(image)[:, 0].mean()

    moved = areas(FunctionHook(lambda layer, x: goal[:, None, None].expand_as(x), layers=[LAYER]))
    change = float(moved - areas())
    assert abs(change) > 0.01 and float(shares.sum()) == pytest.approx(change, rel=0.2)


def test_effects_replace_the_ranking(tiny_generator, codes):
    run = dict(label=lambda x, _: bright_and_dark(x), names=NAMES, layer=LAYER)
    plain = dissect_and_rank(tiny_generator, codes, ranking="difference", **run)
    found = dissect_and_rank(tiny_generator, codes, score=bright_and_dark, pictures=2, **run)
    assert torch.equal(found.iou, plain.iou) and not torch.equal(found.effect, plain.effect)
    overlap = dissect_and_rank(tiny_generator, codes, ranking="overlap", **run)
    assert torch.equal(overlap.effect, overlap.iou)


def test_effects_are_measured_under_inference_mode(tiny_generator, codes):
    """As ComfyUI runs nodes: what dissecting found is written anew outside of it."""
    with torch.inference_mode():
        found = dissect_and_rank(
            tiny_generator,
            codes[:64] + 0,
            lambda x, _: bright_and_dark(x),
            NAMES,
            LAYER,
            score=bright_and_dark,
            pictures=2,
        )
    assert torch.isfinite(found.effect).all() and float(found.effect.min()) < 0  # some units work against a concept


def test_the_usual_layer_depends_on_the_network(tiny_generator, tiny_progan):
    assert middle_layer(tiny_generator) == 2
    assert middle_layer(tiny_progan) == 1


@pytest.mark.parametrize(("blocks", "expected"), [(6, 32), (7, 64), (8, 64), (9, 64)])
def test_the_usual_layer_is_a_quarter_of_the_picture_and_64_px_at_most(make_network, blocks, expected):
    network = make_network(channels=(4,) * blocks)
    layer = middle_layer(GanGenerator(network, family_fingerprint(network), "large"))
    assert network.synthesis.layer_size(layer)[1] == expected


def test_sheets_show_units(tiny_generator, codes, planted):
    concepts = dissect(tiny_generator, codes, planted, NAMES, LAYER)
    sheets = picture_units(tiny_generator, concepts, codes[:8], units=2, pictures=3, size=16)
    assert sheets.shape == (2, 3, 2 * 20, 3 * 20) and sheets.min() >= -1 and sheets.max() <= 1


def test_wrong_inputs_are_sentences(tiny_generator, codes, planted):
    for words, attempt in {
        str(FEWEST): lambda: dissect(tiny_generator, codes[:8], planted, NAMES, LAYER),
        "Unknown threshold": lambda: dissect(tiny_generator, codes, planted, NAMES, LAYER, "maybe"),
        "one mask for each": lambda: dissect(tiny_generator, codes, planted, (*NAMES, "more"), LAYER),
        "does not exist": lambda: dissect(tiny_generator, codes, planted, NAMES, 99),
        "Set ranking to": lambda: dissect_and_rank(tiny_generator, codes, planted, NAMES, LAYER),
        "Unknown ranking": lambda: dissect_and_rank(tiny_generator, codes, planted, NAMES, LAYER, ranking="luck"),
        "was not dissected": lambda: dissect(tiny_generator, codes, planted, NAMES, LAYER).index("dragon"),
    }.items():
        with pytest.raises(InputError, match=words):
            attempt()


def test_files_bring_everything_back(tmp_path, tiny_generator, codes, planted):
    concepts = dissect(tiny_generator, codes, planted, NAMES, LAYER)
    tensors = {name: getattr(concepts, name) for name in (*TENSORS, *STEPS)}
    path = write_concepts(tmp_path / "c.safetensors", tensors, LAYER, NAMES, concepts.family)
    back = ConceptUnits(**read_concepts(path))
    assert back.names == NAMES and back.layer == LAYER and back.family == concepts.family
    assert all(torch.equal(getattr(back, name), tensors[name]) for name in tensors)
    assert "thing: " in back.report()


@pytest.mark.parametrize("lost", ["iou", "top", "steps"])
def test_a_damaged_file_is_refused(tmp_path, tiny_generator, codes, planted, lost):
    concepts = dissect(tiny_generator, codes, planted, NAMES, LAYER)
    tensors = {name: getattr(concepts, name) for name in (*TENSORS, *STEPS)}
    from semantic_edit.models.checkpoint import write_safetensors

    config = {"layer": LAYER, "names": list(NAMES)}
    kept = {name: tensor for name, tensor in tensors.items() if name != lost}
    write_safetensors(tmp_path / "c.safetensors", kept, "concepts", config)
    with pytest.raises((CheckpointError, InputError), match=lost if lost != "steps" else "come together"):
        ConceptUnits(**read_concepts(tmp_path / "c.safetensors"))


def test_values_that_do_not_fit_are_refused(tiny_generator, codes, planted):
    concepts = dissect(tiny_generator, codes, planted, NAMES, LAYER)
    for change in ({"names": ("a",)}, {"names": ("a", "a")}, {"top": torch.zeros(3)}, {"normals": torch.zeros(2, 3)}):
        with pytest.raises(InputError):
            replace(concepts, **change)
