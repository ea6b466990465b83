"""Where the picture is and how it is reached: above the values, by a wheel, by a click; and lists that say all."""

from __future__ import annotations

import shutil

import pytest

DRAG, LIBRARY, FOLDER = "SemanticEditDragPoints", "SemanticEditLoadDirection", "SemanticEditLoadImageFolder"
ZOOM = "(stage) => stage.getBoundingClientRect().width / stage.parentElement.getBoundingClientRect().width"
VIEW = "[app.canvas.ds.scale, ...app.canvas.ds.offset].join()"
TOP = """([kind, name]) => { const node = app.graph._nodes.find((each) => each.type === kind);
  return node.widgets.filter((each) => !each.hidden).map((each) => each.name); }"""


def test_the_picture_is_on_top_and_its_text_folded(small):
    small.set(DRAG, points="50,50 -> 60,60", canvas_width=128, canvas_height=128)
    box = small.look_at(DRAG)
    written = {"points", "units", "canvas_width", "canvas_height", "strokes"}
    shown = small.page.evaluate(TOP, [DRAG, ""])
    assert shown[0] == "semantic_edit_DragPoints" and not written & set(shown)
    small.shot("folded")
    box.get_by_role("button", name="Text").click()
    assert written < set(small.page.evaluate(TOP, [DRAG, ""]))
    texts = """() => [...document.querySelectorAll("textarea")].filter((area) => area.checkVisibility())
      .map((area) => area.value)"""
    small.page.wait_for_timeout(400)
    assert "50,50 -> 60,60" in small.page.evaluate(texts)
    small.shot("unfolded")
    box.get_by_role("button", name="Text").click()
    small.page.wait_for_timeout(400)
    assert "50,50 -> 60,60" not in small.page.evaluate(texts)

    # Values are saved by the places that they always had.
    node = next(node for node in small.saved()["nodes"] if node["type"] == DRAG)
    assert node["widgets_values"][:2] == ["50,50 -> 60,60", "auto"] and node["widgets_values"][8:11] == [128, 128, ""]
    values = small.values(DRAG)
    small.show(small.saved())
    assert small.values(DRAG) == values
    assert not small.problems


def test_the_wheel_zooms_without_a_click(small):
    small.run()
    small.close_dialogs()
    stage = small.look_at(DRAG).locator(".se-stage")
    content = stage.locator(".se-content")
    view, fitted = small.page.evaluate(VIEW), content.evaluate(ZOOM)
    box = stage.bounding_box()
    small.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    handle = content.element_handle()
    small.page.mouse.wheel(0, -100)
    small.page.wait_for_function(f"(content) => ({ZOOM})(content) > {1.15 * fitted}", arg=handle)
    assert small.page.evaluate(VIEW) == view, "the graph has stayed while the picture was zoomed"
    small.page.mouse.wheel(0, 100)
    small.page.wait_for_function(f"(content) => ({ZOOM})(content) < {1.01 * fitted}", arg=handle)
    assert small.page.evaluate(VIEW) == view
    assert content.evaluate(ZOOM) == pytest.approx(fitted, rel=0.01)


def test_a_click_that_comes_to_the_picture_starts_no_drag(small):
    small.run()
    small.close_dialogs()
    box = small.look_at(DRAG)
    stage, status = box.locator(".se-stage"), box.locator("[role=status]")
    small.page.evaluate("document.activeElement.blur()")
    place = stage.bounding_box()
    at = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    small.page.mouse.click(*at)
    assert "Now click" not in status.inner_text() and stage.locator(".se-point").count() == 0
    small.page.mouse.click(*at)
    assert "Now click" in status.inner_text()
    small.page.mouse.click(at[0] + 30, at[1])
    assert len(small.values(DRAG)["points"].splitlines()) == 1
    # A pull is meant, whoever has the focus.
    small.page.evaluate("document.activeElement.blur()")
    small.pull(stage, (0.4, 0.6), (0.4, 0.7))
    assert len(small.values(DRAG)["points"].splitlines()) == 2


MANY = """(kind) => { const node = app.graph._nodes.find((each) => each.type === kind);
  const { values } = node.widgets.find((each) => each.name === "file").options;
  for (let k = 10; k < 40; k++) values.push(`edit_${k}.safetensors`);
  node.semanticEdit.draw(); }"""
IN_VIEW = """(box) => { const card = box.querySelector("[aria-checked=true]").getBoundingClientRect();
  const list = box.querySelector(".se-cards").getBoundingClientRect();
  return card.top >= list.top - 1 && card.bottom <= list.bottom + 1; }"""


def test_the_library_scrolls_to_what_is_chosen(bench):
    bench.build("text")
    box = bench.look_at(LIBRARY)
    bench.page.evaluate(MANY, LIBRARY)
    files = box.locator(".se-card").evaluate_all("(cards) => cards.map((card) => card.dataset.file)")
    scrolled = box.locator(".se-cards").evaluate("(list) => list.scrollHeight > list.clientHeight")
    assert scrolled and len(files) > 4
    for file in (files[-1], files[0]):
        bench.set(LIBRARY, file=file)
        bench.page.wait_for_timeout(200)
        assert box.evaluate(IN_VIEW)
    bench.set(LIBRARY, file="wide_face.safetensors")  # the last one that there is
    bench.show(bench.saved())
    bench.page.wait_for_timeout(800)
    assert bench.look_at(LIBRARY).evaluate(IN_VIEW), "also when it was opened so"


def test_a_folder_says_in_its_node_what_it_left_out(bench, comfyui):
    folder = comfyui.base / "input" / "holiday"
    folder.mkdir(exist_ok=True)
    shutil.copy(comfyui.base / "input" / "example.png", folder / "good.png")
    (folder / "broken.png").write_bytes(b"no picture")
    bench.page.evaluate("app.refreshComboInNodes()")
    bench.page.wait_for_timeout(1500)
    bench.page.evaluate(
        """() => { app.graph.clear();
          const add = (type, pos) => { const node = LiteGraph.createNode(type);
            node.pos = pos; app.graph.add(node); return node; };
          add("SemanticEditLoadImageFolder", [20, 60]).connect(0, add("PreviewImage", [500, 60]), 0); }"""
    )
    bench.set(FOLDER, folder="holiday")
    box = bench.look_at(FOLDER)
    assert not box.is_visible()
    assert bench.run()[0] == "execution_success"
    bench.shot("left_out")
    assert box.is_visible() and box.inner_text().startswith("1 file was left out") and "broken.png" in box.inner_text()
    (folder / "broken.png").unlink()
    assert bench.run()[0] == "execution_success"
    assert not box.is_visible()
    assert not bench.problems
