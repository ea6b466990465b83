"""Nodes of one state: any editor by lists, the pack's own in one node, and the frames of a clip."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from semantic_edit.editing.common.pictures import to_rgb
from semantic_edit.editing.common.types import EditDirection, GanLatent
from semantic_edit.editing.state import StateReader, reader_from_example
from semantic_edit.headless.run.execution import execute
from semantic_edit.models import InputError
from semantic_edit.nodes import node_classes

NODES = {node.GET_SCHEMA().node_id: node for node in node_classes()}


@pytest.fixture
def run_lists(headless_host):
    """Run a node on lists as ComfyUI does: run_lists(id without prefix, name=[values]) -> values of its outputs."""

    def run(node_id, **inputs):
        node = NODES[f"SemanticEdit{node_id}"]
        schema = node.GET_SCHEMA()
        defaults = {
            socket.id: [socket.default] for socket in schema.inputs if getattr(socket, "default", None) is not None
        }
        choices = {socket.id: [socket.options[0]] for socket in schema.inputs if getattr(socket, "options", None)}
        with torch.inference_mode():
            values, _ = execute(node, schema, {**choices, **defaults, **inputs}, {})
        return values

    return run


@pytest.fixture
def brightness():
    """A reader of the mean brightness; a picture that is black all over cannot be read."""

    def read(pictures):
        levels = pictures.mean(dim=(1, 2, 3)).add(1).div(2)
        return torch.where(levels > 1e-6, levels, torch.nan)

    def explain(pictures):
        return ["" if bool(torch.isfinite(value)) else "it is black" for value in read(pictures)]

    return StateReader(read, ("brightness",), ("of 1",), torch.tensor([0.01]), "mean", explain, torch.tensor([0.6]))


def photos(*levels):
    """Grey pictures [B, 4, 4, 3] of these levels."""
    return torch.tensor(levels)[:, None, None, None].expand(-1, 4, 4, 3).clone()


def brighten(image, strength):
    """Some editor: a nonlinear curve that saturates."""
    return image + (1 - image) * (1 - math.exp(-2 * strength)) * 0.8


DARK = (0.1, 0.2, 0.35, 0.5)


def spread(images):
    return float(images.mean(dim=(1, 2, 3)).std())


def probe(run_lists, images, strengths="0, 0.5, 1"):
    singles, alphas, each, index = run_lists("ProbeStrengths", pictures=[images], strengths=[strengths])
    return singles, alphas, each, index


def test_every_picture_is_listed_at_every_strength(run_lists):
    singles, alphas, each, index = probe(run_lists, photos(*DARK), "1, 0")
    assert [float(image.mean()) for image in singles] == pytest.approx(DARK * 2)
    assert alphas == [0.0] * 4 + [1.0] * 4 and each == [0.0, 1.0] and index == [0, 1, 2, 3] * 2
    assert probe(run_lists, photos(*DARK), "1 to -1 in 5")[2] == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_any_editor_by_lists_brings_pictures_to_one_state_and_a_second_plan_is_nearer(run_lists, brightness):
    """The whole graph: probe, edit, plan, edit, plan again with what was read, edit."""
    images = photos(*DARK)
    singles, alphas, _, _ = probe(run_lists, images)
    drawn = [brighten(image, alpha) for image, alpha in zip(singles, alphas, strict=True)]
    planned, plot, report, drawings, listed, targets = run_lists(
        "PlanStrengths", strengths=alphas, pictures=drawn, reader=[brightness], photos=[images]
    )
    assert len(planned) == len(listed) == 4 and targets == pytest.approx([0.6] * 4) and plot[0].shape[0] == 1
    assert "4 of 4 pictures can reach the state" in report[0]
    first = [brighten(image, alpha) for image, alpha in zip(listed, planned, strict=True)]
    again, _, _, more, listed, _ = run_lists(
        "PlanStrengths", strengths=planned, pictures=first, reader=[brightness], photos=[images], earlier=drawings
    )
    second = [brighten(image, alpha) for image, alpha in zip(listed, again, strict=True)]
    spreads = [spread(torch.cat(batch)) for batch in ([images], first, second)]
    assert spreads[1] < 0.2 * spreads[0] and spreads[2] < 0.03 * spreads[0]
    assert more[0].strengths.shape == (4, 4)
    readings, _, measured, joined = run_lists(
        "MeasureState", pictures=second, reader=[brightness], before=[images], target=[0.6]
    )
    assert readings == pytest.approx([0.6] * 4, abs=0.02) and joined[0].shape == (4, 4, 4, 3)
    assert "spread over 4 pictures" in measured[0] and "distance from the target" in measured[0]


def test_whole_batches_and_one_batch_give_the_same_plan(run_lists, brightness):
    images = photos(*DARK)
    batches = [brighten(images, alpha) for alpha in (0.0, 0.5, 1.0)]
    plans = [
        run_lists("PlanStrengths", strengths=strengths, pictures=pictures, reader=[brightness])[0]
        for strengths, pictures in (
            ([0.0, 0.5, 1.0], batches),
            ([0.0, 0.5, 1.0], [torch.cat(batches)]),
            ([0.0] * 4 + [0.5] * 4 + [1.0] * 4, [torch.cat(batches)]),
            ([0.0, 0.5, 1.0] * 4, [batches[s][k : k + 1] for k in range(4) for s in range(3)]),
        )
    ]
    assert all(plan == pytest.approx(plans[0]) for plan in plans)


def test_numbers_of_another_node_serve_in_place_of_pictures(run_lists):
    numbers = [1.0, 2.0, 3.0, 4.0]  # two pictures at 0, then at 1
    planned, _, report, *_ = run_lists(
        "PlanStrengths", strengths=[0.0, 0.0, 1.0, 1.0], readings=numbers, aim=["number"], target=[2.5]
    )
    assert planned == pytest.approx([0.75, 0.25], abs=0.02) and "2 of 2" in report[0]
    falling, *_ = run_lists(
        "PlanStrengths", strengths=[0.0, 0.0, 1.0, 1.0], readings=[-n for n in numbers], aim=["number"], target=[-2.5]
    )
    assert falling == pytest.approx(planned, abs=0.02)
    median, *_, goals = run_lists(
        "PlanStrengths", strengths=[0.0] * 3 + [1.0] * 3, readings=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], aim=["median"]
    )
    assert goals == [2.0] * 3 and median[1] == pytest.approx(0, abs=0.02)


def test_who_cannot_reach_the_state_is_named_and_left_at_the_end(run_lists, brightness):
    images = photos(0.1, 0.3, 0.95)
    singles, alphas, _, _ = probe(run_lists, images)
    drawn = [brighten(image, alpha) for image, alpha in zip(singles, alphas, strict=True)]
    planned, _, report, *_ = run_lists(
        "PlanStrengths", strengths=alphas, pictures=drawn, reader=[brightness], names=["ann\nben\ncarl"]
    )
    assert planned[2] == 0.0 and "2 of 3" in report[0] and "carl" in report[0].splitlines()[0]


def test_a_picture_that_cannot_be_read_is_named_and_costs_no_other(run_lists, brightness):
    images = photos(0.2, 0.0, 0.4)
    singles, alphas, _, _ = probe(run_lists, images)
    drawn = [brighten(image, alpha) if image.any() else image for image, alpha in zip(singles, alphas, strict=True)]
    planned, _, report, *_ = run_lists("PlanStrengths", strengths=alphas, pictures=drawn, reader=[brightness])
    assert "Cannot be read: picture 2" in report[0] and 0 < planned[2] < planned[0] and math.isfinite(planned[1])
    readings, plot, text, _ = run_lists("MeasureState", pictures=[images], reader=[brightness])
    assert math.isnan(readings[1]) and "picture 2: cannot be read, it is black" in text[0]


def test_an_example_picture_is_a_target(run_lists, brightness):
    images = photos(*DARK)
    batches = [brighten(images, alpha) for alpha in (0.0, 0.5, 1.0)]
    *_, goals = run_lists(
        "PlanStrengths", strengths=[0.0, 0.5, 1.0], pictures=batches, reader=[brightness], aim=["picture"],
        example_picture=[photos(0.55)],
    )  # fmt: skip
    assert goals == pytest.approx([0.55] * 4)


WRONG = {
    "nothing to read": ({"strengths": [0.0, 1.0]}, "Neither of pictures and readings"),
    "both": ({"strengths": [0.0, 1.0], "pictures": [photos(0.1, 0.2)], "readings": [1.0]}, "Both of pictures and"),
    "no reader": ({"strengths": [0.0, 1.0], "pictures": [photos(0.1, 0.2)]}, "no reader"),
    "other lengths": ({"strengths": [0.0, 0.5, 1.0], "readings": [1.0, 2.0, 3.0, 4.0]}, "3 strengths for 4 drawings"),
    "one strength": ({"strengths": [0.0, 0.0], "readings": [1.0, 2.0], "aim": ["number"]}, "two or more different"),
    "uneven": ({"strengths": [0.0, 0.0, 1.0], "readings": [1.0, 2.0, 3.0]}, "the same strengths"),
    "NaN strength": ({"strengths": [0.0, math.nan], "readings": [1.0, 2.0]}, "expected finite numbers"),
    "infinite reading": ({"strengths": [0.0, 1.0], "readings": [1.0, math.inf]}, "expected finite numbers"),
    "nothing readable": (
        {"strengths": [0.0, 1.0], "readings": [math.nan] * 2, "aim": ["number"]},
        "The readings must be",
    ),
    "no example": ({"strengths": [0.0, 1.0], "readings": [1.0, 2.0]}, "needs a reader"),
    "names": ({"strengths": [0.0, 1.0], "readings": [1.0, 2.0], "aim": ["number"], "names": ["a\nb"]}, "2 names"),
    "photos": ({"strengths": [0.0, 1.0], "readings": [1.0, 2.0], "photos": [photos(0.1, 0.2)]}, "2 photos"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_planned_is_a_sentence(run_lists, case):
    inputs, sentence = WRONG[case]
    with pytest.raises(InputError, match=sentence):
        run_lists("PlanStrengths", **inputs)


def test_targets_that_do_not_fit_are_sentences(run_lists, brightness):
    drawn = {"strengths": [0.0, 1.0], "pictures": [photos(0.1, 0.2), photos(0.3, 0.4)]}
    blank = replace(brightness, target=None)
    for more, sentence in (
        ({"reader": [blank]}, "was not made from an example"),
        ({"reader": [brightness], "aim": ["picture"]}, "connect example_picture"),
        ({"reader": [brightness], "example_picture": [photos(0.5)]}, "aim is 'example'"),
        ({"reader": [brightness], "aim": ["picture"], "example_picture": [photos(0.5, 0.6, 0.7)]}, "holds 3 pictures"),
        ({"reader": [brightness], "aim": ["picture"], "example_picture": [photos(0.0)]}, "cannot be read: it is black"),
        ({"reader": [brightness], "reading": ["smile"]}, "knows no 'smile'"),
        ({"reader": [brightness], "aim": ["best"]}, "Unknown aim"),
        ({"reader": [brightness], "aim": ["number"], "target": [math.nan]}, "expected a number from"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_lists("PlanStrengths", **drawn, **more)
    uneven = [photos(0.1), torch.rand(1, 6, 6, 3)]
    with pytest.raises(InputError, match="different sizes, such as 4 x 4 and 6 x 6"):
        run_lists("MeasureState", pictures=uneven, reader=[brightness])
    with pytest.raises(InputError, match="'x' is no number"):
        run_lists("ProbeStrengths", pictures=[photos(0.1)], strengths=["0, x"])
    for typed, sentence in (
        ("1, 1", "expected 2 or more"),
        ("0 to 1 in 1", "asks for 1"),
        ("0 to 1 in 99", "asks for 99"),
        ("0 to x in 3", "'x' is no number"),
        (", ".join(map(str, range(65))), "65 different"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_lists("ProbeStrengths", pictures=[photos(0.1)], strengths=[typed])


@pytest.fixture
def latents(run_lists, tiny_generator):
    return run_lists("SampleLatents", generator=[tiny_generator], count=[6], seed=[3])[0][0]


@pytest.fixture
def lightening(tiny_generator, latents):
    """The direction along which the tiny generator's pictures become brighter."""
    with torch.inference_mode(False):
        codes = latents.codes.clone().requires_grad_()
        tiny_generator.synthesize(codes).mean().backward()
        step = codes.grad.mean(dim=0)
    step = 2.0 * step / step.norm()
    return EditDirection(step, step, tuple(range(8)), family=latents.family, name="light", method="test")


def test_reach_state_brings_a_batch_to_one_state(run_lists, tiny_generator, latents, lightening, brightness):
    images = run_lists("GenerateImages", generator=[tiny_generator], latents=[latents])[0][0]
    goal = float(images.mean(dim=(1, 2, 3)).median())
    inputs = {"generator": [tiny_generator], "latents": [latents], "direction": [lightening], "reader": [brightness]}
    edited, alphas, numbers, plot, report = run_lists("ReachState", **inputs, aim=["number"], target=[goal])
    assert spread(edited[0]) < 0.3 * spread(images)
    assert (
        len(alphas[0]) == 6
        and alphas[0].family == latents.family
        and numbers == pytest.approx(alphas[0].alpha.tolist())
    )
    assert "pictures drawn" in report[0] and "distance from the state: 0.0" in report[0] and plot[0].shape[-1] == 3
    again = run_lists("ApplyEdit", latents=[latents], direction=[lightening], strength=alphas)[0]
    drawn = run_lists("GenerateImages", generator=[tiny_generator], latents=again)[0][0]
    torch.testing.assert_close(drawn, edited[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("count", [6, 30])
def test_what_the_edit_does_to_others_teaches_the_reader_of_an_example(run_lists, tiny_generator, lightening, count):
    """Of few pictures by samples, of many by themselves; what came later is off in the files that came before it."""
    latents = run_lists("SampleLatents", generator=[tiny_generator], count=[count], seed=[3])[0][0]
    example = replace(latents, codes=latents.codes[:1], names=latents.names[:1])
    moved = replace(example, codes=example.codes + 0.7 * lightening.direction)
    pair = [to_rgb(tiny_generator.synthesize(codes.codes)).clamp(-1, 1) for codes in (example, moved)]

    def features(pictures):
        return torch.nn.functional.avg_pool2d(pictures, 4)

    reader = reader_from_example(features, *pair)
    inputs = {
        "generator": [tiny_generator], "latents": [latents], "direction": [lightening], "reader": [reader],
        "aim": ["example"],
    }  # fmt: skip
    results = {learn: run_lists("ReachState", **inputs, learn_from_drawings=[learn]) for learn in (True, False)}
    assert "was taught by what the edit does to others" in results[True][4][0]
    assert "taught" not in results[False][4][0]
    assert not torch.equal(results[True][1][0].alpha, results[False][1][0].alpha)
    for images, alphas, *_ in results.values():
        drawn = run_lists("ApplyEdit", latents=[latents], direction=[lightening], strength=alphas)[0][0]
        torch.testing.assert_close(
            run_lists("GenerateImages", generator=[tiny_generator], latents=[drawn])[0][0], images[0], atol=1e-4, rtol=0
        )
    widget = next(w for w in NODES["SemanticEditReachState"].GET_SCHEMA().inputs if w.id == "learn_from_drawings")
    assert widget.default is True and widget.as_dict()["value_in_older_files"] is False


def test_a_picture_is_read_by_what_samples_taught(run_lists, tiny_generator, latents, lightening):
    images = run_lists("GenerateImages", generator=[tiny_generator], latents=[latents])[0][0]
    pair = [picture.movedim(-1, 1) * 2 - 1 for picture in (images[:1], (images[:1] + 0.2).clamp(0, 1))]
    reader = reader_from_example(lambda pictures: torch.nn.functional.avg_pool2d(pictures, 4), *pair)
    inputs = {"generator": [tiny_generator], "latents": [latents], "direction": [lightening], "reader": [reader]}
    edited, *_, report = run_lists(
        "ReachState", **inputs, aim=["picture"], example_picture=[images[2:3]], learn_from_drawings=[True]
    )
    assert edited[0].shape == images.shape and "are at the state" in report[0]


def test_reach_state_needs_one_edit(run_lists, tiny_generator, latents, lightening, brightness):
    inputs = {"generator": [tiny_generator], "latents": [latents], "reader": [brightness], "aim": ["median"]}
    with pytest.raises(InputError, match="Neither of direction and text_edit"):
        run_lists("ReachState", **inputs)
    other = replace(lightening, family="another")
    with pytest.raises(InputError, match="family"):
        run_lists("ReachState", **inputs, direction=[other])
    with pytest.raises(InputError, match="example_picture is connected"):
        run_lists("ReachState", **inputs, direction=[lightening], example_picture=[photos(0.4)])


def test_a_list_of_numbers_is_the_strengths_of_a_batch(run_lists, latents, lightening):
    (strengths,) = run_lists("SetStrengths", numbers=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], factor=[2.0], latents=[latents])
    torch.testing.assert_close(strengths[0].alpha, torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0, 1.2]))
    assert strengths[0].family == latents.family
    moved = run_lists("ApplyEdit", latents=[latents], direction=[lightening], strength=strengths)[0][0]
    torch.testing.assert_close(moved.codes, latents.codes + strengths[0].alpha[:, None, None] * lightening.direction)
    (one,) = run_lists("SetStrengths", numbers=[0.5], latents=[latents], direction=[lightening])
    assert one[0].alpha.tolist() == [0.5] * 6
    for inputs, sentence in (
        ({"numbers": [0.1, 0.2], "latents": [latents]}, "2 numbers for 6 pictures"),
        ({"numbers": []}, "is empty"),
        ({"numbers": [math.nan]}, "expected finite numbers"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_lists("SetStrengths", **inputs)


def test_frames_are_steadied_or_held(run_lists):
    rng = torch.Generator().manual_seed(2)
    jitter = torch.randn(24, generator=rng).tolist()
    codes = GanLatent(torch.randn(24, 8, 4, generator=rng))
    masks = [torch.rand(4, 4, generator=rng) for _ in range(24)]
    numbers, latent, mask = run_lists("SmoothFrames", strengths=jitter, latents=[codes], masks=masks, rows=["coarse"])
    assert torch.tensor(numbers).diff().std() < 0.25 * torch.tensor(jitter).diff().std()
    assert (
        mask[0].shape == (24, 4, 4)
        and mask[0].diff(dim=0).abs().mean() < 0.3 * torch.stack(masks).diff(dim=0).abs().mean()
    )
    changed = (latent[0].codes != codes.codes).any(dim=2).any(dim=0).tolist()
    assert changed == [True] * 3 + [False] * 5 and latent[0].names == codes.names
    held, latent, mask = run_lists("SmoothFrames", mode=["hold"], strengths=jitter)
    assert len(set(held)) == 1 and latent == [None] and mask == [None]
    assert run_lists("SmoothFrames", frames=[0.0], strengths=jitter)[0] == pytest.approx(jitter)
    with pytest.raises(InputError, match="Nothing is connected"):
        run_lists("SmoothFrames")
    with pytest.raises(InputError, match="one height and width"):
        run_lists("SmoothFrames", masks=[torch.rand(4, 4), torch.rand(1, 5, 4)])


def test_crops_of_a_clip_are_steadied(run_lists):
    rng = torch.Generator().manual_seed(5)
    clip = torch.rand(12, 64, 96, 3, generator=rng)
    faces = [
        [[30 + k + j, 30], [50 + k + j, 30], [40 + k + j, 45]]
        for k, j in enumerate(torch.randn(12, generator=rng).tolist())
    ]
    inputs = {"photos": [clip], "method": ["points"], "points": [str(faces)], "width": [32], "height": [32]}
    plain, steady = (
        run_lists("AlignCrop", **inputs, frames=[frames])[1][0].transforms[:, 0, 2].diff() for frames in (0.0, 2.0)
    )
    assert steady.std() < 0.5 * plain.std()
