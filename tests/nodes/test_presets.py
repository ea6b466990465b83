"""Presets: what a node does by a published name is what the paper's code does, whatever its inputs say."""

from __future__ import annotations

import pytest
import torch
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.models.errors import InputError
from semantic_edit.nodes import node_classes
from semantic_edit.nodes.common import published
from semantic_edit.nodes.common.presets import AS_SET, with_preset

NODES = {
    "OptimizeDirection": published.DIRECTION,
    "DragPoints": published.DRAG,
    "AdaptGenerator": published.ADAPTATION,
    "TrainTextEdit": published.TEXT_EDIT,
    "OptimizeEmbedding": published.EMBEDDING,
    "TuneModel": published.TUNING,
}


class StoppedHereError(Exception):
    """The work itself, which the tests do not do."""


@pytest.fixture
def call_of(monkeypatch):
    """call_of(module, function name, run) -> (args, kwargs) of the call in which a node's preparation ends."""

    def capture(module, name, run):
        calls = []

        def stop(*args, **kwargs):
            calls.append((args, kwargs))
            raise StoppedHereError

        monkeypatch.setattr(module, name, stop)
        with pytest.raises(StoppedHereError):
            run()
        return calls[0]

    return capture


@pytest.fixture
def latents(run_node, tiny_generator):
    return run_node("SampleLatents", generator=tiny_generator, count=2, seed=3)[0][0]


@pytest.fixture
def one(latents):
    return GanLatent(latents.codes[:1], latents.names[:1], latents.family)


@pytest.mark.parametrize("node", NODES)
def test_every_preset_names_inputs_and_ours_is_what_they_are_by_default(node):
    schema = {n.GET_SCHEMA().node_id: n.GET_SCHEMA() for n in node_classes()}[f"SemanticEdit{node}"]
    inputs = {socket.id: socket for socket in schema.inputs}
    assert inputs["preset"].options == [AS_SET, *NODES[node]]
    unseen = {
        "coordinates",
        "rate",
        "batch",
        "l2_of",
        "identity",
        "rate_of",
        "layers",
        "schedule",
        "reference_rate",
        "average",
    }
    for name, preset in NODES[node].items():
        assert set(preset) - unseen <= set(inputs), name
        for key in set(preset) & set(inputs):
            options = getattr(inputs[key], "options", None)
            assert options is None or preset[key] in options, f"{name}: {key}"
    for key, setting in NODES[node]["ours"].items():
        if key in inputs:
            default = inputs[key].default
            assert setting == (inputs[key].options[0] if default is None else default), key


def test_an_unknown_preset_is_refused_and_as_set_changes_nothing():
    assert with_preset(published.DRAG, AS_SET, steps=3) == ({"steps": 3}, "")
    with pytest.raises(InputError, match="Unknown preset 'theirs'"):
        with_preset(published.DRAG, "theirs")


def test_draggan_drags_as_published_and_says_what_changed(run_node, tiny_generator, one):
    drag = {"generator": tiny_generator, "latents": one, "points": "12,16 -> 16,16", "steps": 3, "rows": "7"}
    (start, edited, *_, report), _ = run_node("DragPoints", **drag, preset="DragGAN", tolerance=9.0)
    (_, expected, *_), _ = run_node("DragPoints", **drag | {"steps": 0, "rows": "auto"}, method="published")
    assert torch.equal(edited.codes, expected.codes) and not torch.equal(edited.codes, start.codes)
    assert "preset 'DragGAN': method published, steps 0, tolerance 0.0, rows auto" in report


@pytest.mark.parametrize(
    ("name", "variant", "rows"),
    [("one image", "single", 6), ("batch", "batch", 6), ("StyleCLIP edits", "text", 8)],
)
def test_the_three_forms_of_edit_one_for_all(run_node, tiny_generator, latents, call_of, name, variant, rows):
    import semantic_edit.nodes.one_for_all.optimize_direction as node

    start, edited = (GanLatent(latents.codes[k : k + 1], latents.names[:1], latents.family) for k in (0, 1))
    edit = run_node("RecordEdit", generator=tiny_generator, start=start, edited=edited)[0][0]
    run = lambda: run_node(  # noqa: E731
        "OptimizeDirection", generator=tiny_generator, edit=edit, preset=f"Edit One for All, {name}", picture_height=16
    )
    _, settings = call_of(node, "learn_direction", run)
    assert (settings["variant"], settings["normal"], settings["landing"]) == (variant, "direction", "direction")
    assert settings["layers"] == range(rows) and settings["steps"] is None and settings["stop_resolution"] is None


def test_ganpaint_trains_its_network_for_a_thousand_steps_on_the_last_five_layers(
    run_node, tiny_generator, latents, call_of
):
    import semantic_edit.nodes.photos.adapt_generator as node

    run = lambda: run_node(  # noqa: E731
        "AdaptGenerator", generator=tiny_generator, photos=torch.rand(2, 32, 32, 3), latents=latents, preset="GANPaint"
    )
    arguments, settings = call_of(node, "adapt", run)
    assert arguments[3:] == ("network", None, 1000, 0.1, 0.1)
    assert settings["layers"] == range(2, 7) and settings["follow"] is False


@pytest.fixture
def training_of(run_node, tiny_generator, latents, call_of):
    """The settings of a training by a preset."""
    import semantic_edit.nodes.text.train_text_edit as node

    class Scorer:
        image_size = (16, 16)
        logit_scale = 10.0

        def encode_text(self, sentences):
            return torch.nn.functional.normalize(torch.tensor([[float(len(s)), 1.0] for s in sentences]), dim=1)

    def settings(preset, **inputs):
        run = lambda: run_node(  # noqa: E731
            "TrainTextEdit", generator=tiny_generator, scorer=Scorer(), latents=latents, preset=preset, **inputs
        )
        arguments, _ = call_of(node, "train_text_edit", run)
        return arguments[1], arguments[5]

    return settings


@pytest.mark.parametrize(("name", "masks"), [("segments", "regions"), ("attention", "attention")])
def test_coral_scores_whole_pictures_from_nothing_and_masks_alone_mix_the_layers(training_of, name, masks):
    goal, settings = training_of(f"CoralStyleCLIP, {name}", steps=17, area=0.3, picture_height=16)
    assert (settings.masks, settings.start, settings.keep_outside, settings.threshold) == (masks, 0, False, 0)
    assert settings.stop_resolution is None and settings.coordinates == "plain" and goal.score == "cosine"
    assert (settings.steps, settings.area) == (17, 0.3), "what the paper does not say stays as set"


def test_styleclip_weighs_the_change_of_w_as_its_code_does(training_of, tiny_generator):
    std = float(tiny_generator.w_covariance.diagonal().mean().sqrt())
    units = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))  # [L, D], in standard deviations
    for name, weight, reduce in (("optimisation", 0.008, torch.sum), ("mapper", 0.8, torch.mean)):
        _, settings = training_of(f"StyleCLIP, {name}")
        assert settings.l2 * float(units.square().sum()) / 8 == pytest.approx(
            weight * float(reduce((units * std).square())), rel=1e-5
        )
        assert settings.masks == "none" and settings.stop_resolution is None
        if name == "optimisation":
            assert (settings.steps, settings.rate * std) == (300, pytest.approx(0.1))
        else:
            assert (settings.steps, settings.batch, settings.changes) == (50_000, 2, "mapper")
