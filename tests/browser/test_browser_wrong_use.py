"""The widgets used in wrong ways: before there is a picture, with another picture, with another edit, in two tabs."""

from __future__ import annotations

import pytest

BRUSH, PAINT, COMPARE = "SemanticEditBrushMask", "SemanticEditPaintConcept", "SemanticEditCompareImages"
LAYERS, REFINE = "SemanticEditRegionLayerMasks", "SemanticEditRefineMasks"


@pytest.fixture
def painting(bench):
    bench.build("painting")
    return bench


def status(box):
    return box.locator(".se-status").inner_text()


@pytest.mark.parametrize("kind", [BRUSH, PAINT])
def test_without_a_picture_nothing_is_painted(painting, kind):
    box = painting.look_at(kind)
    stage = box.locator(".se-stage")
    assert "un once" in stage.inner_text() and status(box) == "No strokes yet."
    painting.pull(stage, (0.4, 0.4), (0.6, 0.6))
    stage.press("Enter")
    assert painting.values(kind)["strokes"] == "" and box.get_by_role("button", name="Clear").is_disabled()
    assert not painting.problems


def test_pictures_come_without_strokes_and_the_sentence_says_what_to_do(painting):
    ended, message = painting.run()
    assert ended == "execution_error" and "stroke" in message
    painting.close_dialogs()
    for kind in (BRUSH, PAINT):
        stage = painting.look_at(kind).locator(".se-stage")
        assert stage.locator(".se-content img").evaluate("(image) => image.naturalWidth") == 128
        painting.pull(stage, (0.4, 0.4), (0.6, 0.5))
        assert painting.values(kind)["strokes"].startswith("0.06: ")
    assert painting.run()[0] == "execution_success"
    painting.shot("painting")

    # The same strokes over another picture.
    painting.set("SemanticEditSampleLatents", seed=11)
    assert painting.run()[0] == "execution_success"
    for kind in (BRUSH, PAINT):
        box = painting.look_at(kind)
        assert "picture has changed" in status(box)
        painting.pull(box.locator(".se-stage"), (0.3, 0.6), (0.35, 0.6))
        assert status(box) == "2 strokes."

    # Saved and opened again, the strokes are there, and painting goes on.
    kept = {kind: painting.values(kind) for kind in (BRUSH, PAINT)}
    painting.show(painting.saved())
    assert {kind: painting.values(kind) for kind in (BRUSH, PAINT)} == kept
    assert not painting.problems


def test_strokes_that_cannot_be_read_and_strokes_by_wire_are_left_alone(painting):
    painting.set(BRUSH, strokes="a line here")
    box = painting.look_at(BRUSH)
    assert "cannot be shown" in status(box)
    painting.pull(box.locator(".se-stage"), (0.4, 0.4), (0.6, 0.6))
    assert painting.values(BRUSH)["strokes"] == "a line here"


def test_a_comparison_has_nothing_to_compare_then_one_pair_then_fewer(painting):
    box = painting.look_at(COMPARE)
    assert "Run once" in box.locator(".se-stage").inner_text() and "No pictures yet" in box.inner_text()
    assert box.get_by_role("slider").is_disabled() and box.get_by_role("button", name="Difference").is_disabled()
    painting.set(BRUSH, strokes="0.1: 0.5 0.5")
    painting.set(PAINT, strokes="0.1: 0.5 0.2")
    painting.set("SemanticEditSampleLatents", count=3)
    assert painting.run()[0] == "execution_success"
    assert "1 of 3" in box.inner_text()
    box.get_by_role("button", name="Pair 3").click()
    assert "3 of 3" in box.inner_text()
    painting.set("SemanticEditSampleLatents", count=2)
    assert painting.run()[0] == "execution_success"
    assert "2 of 2" in box.inner_text()
    painting.set(PAINT, concept="no such thing")
    ended, message = painting.run()
    assert ended == "execution_error" and "no such thing" in message
    painting.close_dialogs()
    assert "2 of 2" in box.inner_text(), "what was shown stays when a run fails"
    assert not painting.problems


def test_masks_of_an_edit_before_a_run_and_with_another_edit(bench):
    bench.build("text")
    layers = bench.look_at(LAYERS)
    assert "Run once" in layers.locator(".se-stage").inner_text()
    box = bench.look_at(REFINE)
    assert "Run once" in status(box) and box.get_by_role("button").count() == 0
    ended, message = bench.run()
    assert ended == "execution_success", message
    box = bench.look_at(REFINE)
    assert "may change" in status(box)
    box.get_by_role("button", name="part hair").click()
    assert bench.values(REFINE)["drop_parts"] == "hair"
    assert bench.run()[0] == "execution_success"
    bench.shot("masks")
    assert "can change" in status(bench.look_at(LAYERS))

    # Names and rows of another edit: the run says which there are, the table too, and a press leaves them away.
    bench.set(REFINE, drop_parts="hair, wings")
    ended, message = bench.run()
    assert ended == "execution_error" and "wings" in message and "mouth" in message
    bench.close_dialogs()
    box = bench.look_at(REFINE)
    assert "wings" in status(box)
    box.get_by_role("button", name="part mouth").click()
    assert bench.values(REFINE)["drop_parts"] == "hair, mouth"
    bench.set(REFINE, rows="40-50")
    assert "None of the rows" in status(box)
    bench.set(REFINE, rows="a few")
    assert "kept as they are typed" in status(box)
    assert not bench.problems


FILLED = """() => app.graph._nodes.filter((node) => node.semanticEdit).map((node) => [node.type,
  [...node.semanticEdit.element.querySelectorAll("img[src]")].length > 0 || Boolean(node.semanticEdit.edit)])"""


def test_what_one_tab_runs_stays_out_of_another(painting, open_page):
    painting.set(BRUSH, strokes="0.1: 0.5 0.5")
    painting.set(PAINT, strokes="0.1: 0.5 0.2")
    other = open_page(painting.renderer)
    other.build("painting")
    assert painting.run()[0] == "execution_success"
    other.page.wait_for_timeout(500)
    assert all(filled for _, filled in painting.page.evaluate(FILLED))
    assert not any(filled for _, filled in other.page.evaluate(FILLED))
    assert other.values(BRUSH)["strokes"] == ""
    other.page.close()
