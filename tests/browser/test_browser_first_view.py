"""What one sees of a template before anything is touched: a note that can be read, an order, and a view as an app."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
READABLE = 12  # px on the screen
APPS = {path: json.loads(path.read_text(encoding="utf-8")).get("extra", {}).get("linearData") for path in FILES}

OPEN = """async ([document, name]) => {
  await app.loadGraphData(document, true, true, name, { openSource: "template" });
  await new Promise((done) => setTimeout(done, 1500));
}"""
# Of the large note: its text's sizes on the screen, whether it is whole, and its box within the canvas.
NOTE = """() => {
  const node = app.graph._nodes.find((each) => each.type === "SemanticEditLargeNote");
  const { scale } = app.canvas.ds;
  const text = node.widgets[0].element.querySelector(".se-note");
  const box = text.getBoundingClientRect();
  const canvas = app.canvas.canvas.getBoundingClientRect();
  return {
    sizes: [...text.querySelectorAll("p")].map((each) => parseFloat(getComputedStyle(each).fontSize) * scale),
    whole: text.scrollHeight <= text.clientHeight,
    inside: box.width > 0 && box.left >= canvas.left && box.top >= canvas.top
      && box.right <= canvas.right && box.bottom <= canvas.bottom,
    text: text.textContent,
  };
}"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_note_can_be_read_at_the_zoom_that_comfyui_chooses(bench, path):
    bench.page.evaluate(OPEN, [json.loads(path.read_text(encoding="utf-8")), path.stem])
    bench.shot(f"opened_{path.stem}")
    note = bench.page.evaluate(NOTE)
    assert len(note["sizes"]) == 3 and min(note["sizes"]) >= READABLE, note
    assert note["whole"] and note["inside"], note
    assert not bench.problems


def test_a_large_note_is_written_in_the_page_and_saved(bench):
    page = bench.page
    page.evaluate(
        """() => { app.graph.clear(); const node = LiteGraph.createNode("SemanticEditLargeNote");
          node.pos = [100, 100]; app.graph.add(node); app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0];
          app.canvas.setDirty(true, true); }"""
    )
    page.wait_for_timeout(800)
    page.locator(".se-note").dblclick()
    area = page.locator(".se-note-area")
    area.fill("# Mine\nA few **words**, in my own hand.")
    area.blur()
    assert page.locator(".se-note-title").inner_text() == "Mine"
    assert page.locator(".se-note strong").inner_text() == "words"
    document = bench.saved()
    assert document["nodes"][0]["widgets_values"] == ["# Mine\nA few **words**, in my own hand."]
    page.evaluate("app.graph.clear()")
    bench.show(document)
    assert page.locator(".se-note-title").inner_text() == "Mine"
    assert not bench.problems


def test_the_menu_opens_templates_in_their_order(bench):
    page = bench.page
    labels = page.evaluate(
        """() => app.extensionManager.command.commands.filter((each) => each.id.startsWith("SemanticEdit.Template."))
          .map((each) => typeof each.label === "function" ? each.label() : each.label)"""
    )
    assert len(labels) == len(FILES) and [int(label.split(".")[0]) for label in labels] == [*range(1, len(FILES) + 1)]
    page.evaluate("app.extensionManager.command.execute('SemanticEdit.Template.batch_folder')")
    page.wait_for_function("app.graph._nodes.some((node) => node.type === 'SemanticEditEditFolder')")
    assert not bench.problems


@pytest.mark.parametrize("path", [path for path in FILES if APPS[path]], ids=lambda path: path.stem)
def test_the_view_as_an_app_shows_the_inputs_that_matter(bench, path):
    page = bench.page
    if not page.evaluate("app.extensionManager.command.commands.some((each) => each.id === 'Comfy.ToggleLinear')"):
        pytest.skip("this version of ComfyUI's page has no app mode")
    page.evaluate(OPEN, [json.loads(path.read_text(encoding="utf-8")), path.stem])
    before = page.evaluate("app.extensionManager.setting.get('Comfy.VueNodes.Enabled')")
    page.evaluate("app.extensionManager.command.execute('Comfy.ToggleLinear')")
    page.wait_for_timeout(2000)
    bench.close_dialogs()
    bench.shot(f"app_{path.stem}")
    shown = page.locator("body").inner_text()
    page.evaluate("app.extensionManager.command.execute('Comfy.ToggleLinear')")
    page.evaluate("(value) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', value)", before)
    page.wait_for_timeout(1000)
    for _, name in APPS[path]["inputs"]:
        assert name in shown, name
    kept = page.evaluate("app.graph.extra.linearData ?? app.rootGraph?.extra?.linearData")
    assert len(kept["inputs"]) == len(APPS[path]["inputs"]) and len(kept["outputs"]) == len(APPS[path]["outputs"])
    assert not bench.problems
