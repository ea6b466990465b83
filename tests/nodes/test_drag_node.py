"""Drag Points as ComfyUI runs it: under inference mode, wired to its neighbours, with all that a person mistypes."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from semantic_edit.editing.common.types import GanLatent
from semantic_edit.headless import StoppedError
from semantic_edit.models import InputError


@pytest.fixture
def batch(run_node, tiny_generator):
    (latent, *_), _ = run_node("SampleLatents", generator=tiny_generator, count=3, seed=3)
    return latent


@pytest.fixture
def inputs(tiny_generator, batch):
    """Inputs that are right."""
    one = GanLatent(batch.codes[1:2], batch.names[1:2], batch.family)
    return dict(generator=tiny_generator, latents=one, points="12,16 -> 16,16", steps=3)


def test_dragged_recorded_and_given_to_everyone(run_node, tiny_generator, batch, inputs):
    (start, edited, images, preview, report), _ = run_node("DragPoints", **inputs)
    assert torch.equal(start.codes, inputs["latents"].codes) and not torch.equal(edited.codes, start.codes)
    assert edited.names == start.names == batch.names[1:2] and edited.family == tiny_generator.family
    assert images.shape == (2, 32, 32, 3) and preview.shape == (2, 512, 512, 3)
    assert "drag 1: 4.0 px before" in report and "after 3 steps" in report
    (edit,), _ = run_node("RecordEdit", generator=tiny_generator, start=start, edited=edited, name="drag")
    (strengths, alphas, _), _ = run_node("ComputeStrength", direction=edit, latents=batch)
    (moved,), _ = run_node("ApplyEdit", latents=batch, direction=edit, strength=strengths)
    assert alphas[1] == pytest.approx(1.0, abs=1e-3)
    torch.testing.assert_close(moved.codes[1], edited.codes[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["least change", "published"])
def test_both_methods_and_some_rows(run_node, inputs, method):
    (start, edited, *_), _ = run_node("DragPoints", **inputs | dict(method=method, rows="coarse", learning_rate=0.01))
    changed = (edited.codes - start.codes).abs().amax(dim=2)[0] > 0
    assert changed.tolist() == [True] * 3 + [False] * 5


def test_points_come_as_json_as_two_lists_and_on_a_canvas(run_node, inputs):
    (_, expected, *_), _ = run_node("DragPoints", **inputs)
    same = [
        dict(points=json.dumps({"handles": [[12, 16]], "targets": [[16, 16]]})),
        dict(points='[{"x": 12, "y": 16}]', targets='[{"x": 16, "y": 16}]'),
        dict(points="384,512 -> 512,512", canvas_width=1024, canvas_height=1024),
        dict(points="0.375,0.5 -> 0.5,0.5"),
        dict(points="0.375,0.5 -> 0.5,0.5", units="fractions"),
    ]
    for points in same:
        (_, edited, *_), _ = run_node("DragPoints", **inputs | points)
        torch.testing.assert_close(edited.codes, expected.codes)


def test_a_region_holds_the_rest_and_another_size_is_resized_with_a_note(run_node, inputs, caplog):
    region = torch.zeros(32, 32)
    region[:, :20] = 1
    (_, held, *_, report), _ = run_node("DragPoints", **inputs, region=region)
    assert "outside the region" in report and "resized" not in report
    bigger = region.repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    with caplog.at_level(logging.INFO):
        (_, same, *_, report), _ = run_node("DragPoints", **inputs, region=bigger)
    assert "the region of 64 x 64 was resized to 32 x 32" in report and "resized" in caplog.text
    torch.testing.assert_close(same.codes, held.codes)
    (_, free, *_), _ = run_node("DragPoints", **inputs)
    assert not torch.equal(free.codes, held.codes)


@pytest.mark.parametrize("stop_at", [1, 3])
def test_an_interruption_stops_at_the_next_step(run_node, headless_host, inputs, monkeypatch, stop_at):
    calls = []

    def stop(self):
        calls.append(1)
        if len(calls) == stop_at:
            raise StoppedError("stopped")

    monkeypatch.setattr(type(headless_host), "check_interrupt", stop)
    with pytest.raises(StoppedError):
        run_node("DragPoints", **inputs | dict(steps=30, tolerance=0.001), region=torch.eye(32))
    assert len(calls) == stop_at


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(points="12,16"), "cannot be read"),
        (dict(points="12,16 -> 99,16"), "outside the picture"),
        (dict(points="-1,16 -> 9,16"), "outside the picture"),
        (dict(points="12,16 -> 12,16"), "target where its handle is"),
        (dict(points='{"handles": [[1, 2]], "targets": []}'), "1 handles and 0 targets"),
        (dict(points="[[[1, 2], [3, 4]"), "cannot be read"),
        (dict(points="1,2\n3,4", targets="5,6"), "2 handles and 1 targets"),
        (dict(points="1,2", targets=""), "targets are empty"),
        (dict(points="40,2 -> 3,4", canvas_width=64), "both canvas_width and canvas_height"),
        (dict(units="miles"), "units"),
        (dict(method="best"), "method"),
        (dict(rows="9"), "there is no 9"),
        (dict(rows=""), "rows is empty"),
        (dict(region=torch.zeros(32, 32)), "nothing may move"),
        (dict(region=torch.ones(2, 32, 32)), "holds 2 masks"),
        (dict(region=torch.ones(32)), "expected a MASK"),
        (dict(region=torch.full((32, 32), float("nan"))), "not finite"),
    ],
)
def test_wrong_inputs_are_refused_with_a_sentence(run_node, inputs, changes, words):
    with pytest.raises(InputError, match=words):
        run_node("DragPoints", **inputs | changes)


def test_without_points_the_example_is_shown_and_what_follows_waits(run_node, inputs):
    values, shown = run_node("DragPoints", **inputs | dict(points=" "))
    assert len(values) == 5 and all("points are empty" in value.message for value in values)
    (picture,) = shown["semantic_edit_picture"]
    assert picture["type"] == "temp" and "images" not in shown


def test_brushed_strokes_are_a_region(run_node, inputs, headless_host):
    (_, held, *_, report), shown = run_node("DragPoints", **inputs, strokes="0.3: 0.4 0.5")
    (_, free, *_), _ = run_node("DragPoints", **inputs)
    assert "outside the region" in report and not torch.equal(held.codes, free.codes)
    assert len(shown["semantic_edit_picture"]) == len(shown["semantic_edit_result"]) == 1
    assert shown["semantic_edit_report"] == [report]
    with pytest.raises(InputError, match="not pairs of numbers"):
        run_node("DragPoints", **inputs, strokes="0.3: 0.4")


def test_several_codes_and_strangers_are_refused(run_node, inputs, batch):
    with pytest.raises(InputError, match="holds 3 codes"):
        run_node("DragPoints", **inputs | dict(latents=batch))
    stranger = GanLatent(batch.codes[:1], ("x",), "elsewhere")
    with pytest.raises(InputError, match="elsewhere"):
        run_node("DragPoints", **inputs | dict(latents=stranger))
    short = GanLatent(batch.codes[:1, :4], ("x",), batch.family)
    with pytest.raises(InputError, match="expects \\[B, 8, 16\\]"):
        run_node("DragPoints", **inputs | dict(latents=short))


def test_moving_a_point_does_not_measure_the_picture_again(run_node, inputs, monkeypatch):
    from semantic_edit.editing.drag import steps as drag_steps

    calls, plain = [], drag_steps.measure_changes
    monkeypatch.setattr(drag_steps, "measure_changes", lambda *args: calls.append(1) or plain(*args))
    run_node("DragPoints", **inputs)
    (_, known, *_), _ = run_node("DragPoints", **inputs | dict(points="12,16 -> 12,20"))
    assert len(calls) == 1
    copy = GanLatent(inputs["latents"].codes, inputs["latents"].names, inputs["latents"].family)
    (_, again, *_), _ = run_node("DragPoints", **inputs | dict(points="12,16 -> 12,20", latents=copy))
    assert len(calls) == 2 and torch.equal(known.codes, again.codes)
