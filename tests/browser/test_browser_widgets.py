"""The widgets in a real browser: driven by mouse and keys, run, saved, opened again; and used in wrong ways."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from semantic_edit.editing.drag.points import parse_points
from semantic_edit.models import InputError

DRAG = "SemanticEditDragPoints"
PACK = Path(__file__).resolve().parents[2]


def test_a_drag_is_pulled_run_saved_and_opened_again(small, comfyui):
    # Without points the picture comes, and a sentence says what to do.
    ended, message = small.run()
    assert ended == "execution_error" and "the points are empty" in message
    small.close_dialogs()
    box = small.look_at(DRAG)
    stage = box.locator(".se-stage")
    assert "Pull from a spot" in box.locator("[role=status]").inner_text()

    small.pull(stage, (0.5, 0.5), (0.56, 0.5))
    small.pull(stage, (0.4, 0.6), (0.4, 0.7))
    values = small.values(DRAG)
    assert values["units"] == "pixels" and values["canvas_width"] == values["canvas_height"] == 128
    drags = parse_points(values["points"], (128, 128))
    assert len(drags) == 2
    assert abs(float(drags.handles[0, 0]) - 64) < 2 and 3 < float(drags.targets[0, 0] - drags.handles[0, 0]) < 16

    # Back, again, and the second one away by the keyboard.
    box.get_by_role("button", name="Undo").click()
    assert len(parse_points(small.values(DRAG)["points"], (128, 128))) == 1
    box.get_by_role("button", name="Redo").click()
    assert small.values(DRAG)["points"] == values["points"]
    mark = box.get_by_role("button", name="Target of drag 2")
    mark.focus()
    small.page.keyboard.press("ArrowRight")
    moved = parse_points(small.values(DRAG)["points"], (128, 128))
    assert float(moved.targets[1, 0] - drags.targets[1, 0]) == pytest.approx(1, abs=0.11)
    small.page.keyboard.press("Delete")
    assert len(parse_points(small.values(DRAG)["points"], (128, 128))) == 1

    # A region by brush.
    box.get_by_role("radio", name="Region").click()
    small.pull(stage, (0.4, 0.5), (0.6, 0.5))
    assert small.values(DRAG)["strokes"].startswith("0.06: ")
    assert small.run()[0] == "execution_success"
    small.shot("drag")
    assert (
        small.page.locator(".se-stage img[alt='After the edit']").first.evaluate("(image) => image.naturalWidth") == 128
    )

    saved, values = small.saved(), small.values(DRAG)
    small.show(saved)
    assert small.values(DRAG) == values
    small.open(comfyui.url)
    small.show(json.loads(json.dumps(saved)))
    assert small.values(DRAG) == values
    assert not small.problems


def test_another_picture_under_the_points_is_noticed(small):
    small.run()
    small.close_dialogs()
    box = small.look_at(DRAG)
    small.pull(box.locator(".se-stage"), (0.5, 0.5), (0.55, 0.5))
    small.set("SemanticEditSampleLatents", seed=11)
    assert small.run()[0] == "execution_success"
    assert "picture has changed" in box.locator("[role=status]").inner_text()


def test_points_that_cannot_be_read_are_left_alone(small):
    box = small.look_at(DRAG)
    small.set(DRAG, points="here and there")
    assert "cannot be shown" in box.locator("[role=status]").inner_text()
    assert box.get_by_role("button", name="Add").is_disabled()
    assert small.values(DRAG)["points"] == "here and there"


def test_points_that_were_typed_and_taken_back_leave_nothing_to_pull_on(small):
    box = small.look_at(DRAG)
    small.set(DRAG, points="100,100 -> 120,100")
    assert "1 drag" in box.locator("[role=status]").inner_text()
    small.set(DRAG, points="")
    assert "Run once" in box.locator(".se-stage").inner_text()
    small.pull(box.locator(".se-stage"), (0.5, 0.5), (0.56, 0.5))
    assert small.values(DRAG)["points"] == ""
    assert not small.problems


def test_a_direction_that_is_gone_is_said_and_another_is_chosen(small):
    small.page.evaluate(
        """() => { app.graph.clear(); const node = LiteGraph.createNode("SemanticEditLoadDirection");
          node.pos = [20, 60]; app.graph.add(node); const widget = node.widgets.find((each) => each.name === "file");
          widget.value = "gone.safetensors"; widget.callback?.(widget.value); }"""
    )
    small.page.wait_for_timeout(800)
    box = small.look_at("SemanticEditLoadDirection")
    assert "not there any more" in box.locator("[role=status]").inner_text()
    card = box.get_by_role("radio", name="smile")
    card.click()
    assert small.values("SemanticEditLoadDirection")["file"] == "smile.safetensors"
    assert card.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 50
    card.press("ArrowLeft")  # to the right stand edits that templates may have saved
    assert small.values("SemanticEditLoadDirection")["file"] == "open_mouth.safetensors"
    small.shot("library")


def test_what_one_tab_runs_does_not_change_another(small, open_page):
    other = open_page(small.renderer)
    other.build("small")
    small.run()
    other.page.wait_for_timeout(500)
    assert small.page.evaluate(HAS_PICTURE) and not other.page.evaluate(HAS_PICTURE)
    other.page.close()


HAS_PICTURE = (
    """Boolean(app.graph._nodes.find((node) => node.type === "SemanticEditDragPoints").semanticEdit.hasPicture)"""
)


FORMS = [
    "20,86 -> 20,108\n108,87 -> 108,108",
    "12.5 , 3 => 4, 5 # remark\n\n(1, 2) to (3, 4)",
    "[1,2] -> [3,4]",
    "[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]",
    "[[1, 2, 3, 4]]",
    "[[[1, 2], [9, 9], [3, 4]]]",
    "[[1, 2], [3, 4], [5, 6], [7, 8]]",
    '[{"x": 1, "y": 2}, {"x": 3, "y": 4}]',
    '{"handles": [[1, 2]], "targets": [[3, 4]]}',
    '{"positive": [{"x": 1, "y": 2}], "negative": [{"x": 3, "y": 4}], "width": 64, "height": 64}',
    '[{"from": [1, 2], "to": [3, 4]}]',
    "0.25,0.5 -> 0.5,0.5",
    "1,1 -> 0,1",
    '{"handles": [[1, 2]], "targets": []}',
    "[1,",
    "here",
]


@pytest.mark.parametrize("text", FORMS)
def test_the_page_reads_points_as_python_does(desk, text):
    found = desk.page.evaluate(
        f"""async (text) => {{ const {{ parsePoints }} = await import("/extensions/{folder()}/lib/points.js");
          const wider = JSON.parse(/^\\{{/.test(text) && text.includes("width") ? text : "{{}}");
          return parsePoints(text, "auto", wider.width ? null : [128, 128]); }}""",
        text,
    )
    try:
        drags = parse_points(text, (128, 128))
    except InputError:
        assert found["problem"]
        return
    for drag, handle, target in zip(found["drags"], drags.handles.tolist(), drags.targets.tolist(), strict=True):
        assert [value * 128 for value in drag["from"]] == pytest.approx(handle, abs=1e-3)
        assert [value * 128 for value in drag["to"]] == pytest.approx(target, abs=1e-3)


def test_the_page_judges_units_by_nearly_all_numbers(desk):
    library = f"/extensions/{folder()}/lib/points.js"
    read = f"""async (text) => (await import("{library}")).parsePoints(text, "auto", [128, 64])"""
    for text, start in {"0.25,0.5 -> 1.004,0.5": [0.25, 0.5], "0.5,0.5 -> 1,50": [0.5 / 128, 0.5 / 64]}.items():
        assert desk.page.evaluate(read, text)["drags"][0]["from"] == pytest.approx(start)


def folder():
    return "semantic-edit-clone"


AXE = os.environ.get("AXE_CORE", "")


@pytest.mark.skipif(not Path(AXE).is_file(), reason="AXE_CORE does not name axe.min.js")
def test_widgets_are_accessible(small):
    small.page.evaluate(
        """() => { let x = 1300;
          for (const type of ["PaintConcept", "BrushMask", "LoadDirection", "RefineMasks", "RegionLayerMasks"]) {
          const node = LiteGraph.createNode("SemanticEdit" + type); node.pos = [x, 60]; x += 420; app.graph.add(node); }
          app.canvas.ds.scale = 0.4; app.canvas.ds.offset = [20, 120]; app.canvas.setDirty(true, true);
          app.graph._nodes.find((node) => node.type === "SemanticEditRefineMasks").onExecuted({ semantic_edit_edit: [{
            prompt: "glasses", rows: [2, 3], count: 8, parts: ["eyes", "hat"], weights: [[0, 0, 90, 80, 0, 0, 0, 0],
            [0, 0, 0, 20, 0, 0, 0, 0]], threshold: 0.05 }] }); }"""
    )
    small.page.wait_for_timeout(1000)
    small.page.add_script_tag(path=AXE)
    found = small.page.evaluate(
        """async () => (await axe.run(".se-widget")).violations.map((each) =>
          [each.id, each.help, each.nodes.map((node) => node.html.slice(0, 200))])"""
    )
    assert small.page.locator(".se-widget").count() >= 7
    assert found == []
    small.shot("all_widgets")
