"""Every template in a real browser, in both renderers: it opens without complaint, fits, and is saved as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
ROOM = 6  # px that a frontend may draw a node larger than the sheet says

every_template = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@every_template
def test_it_opens_and_is_saved_as_it_was(desk, path):
    desk.problems.clear()
    document = json.loads(path.read_text(encoding="utf-8"))
    desk.show(document, path.stem)
    missing = desk.page.evaluate(
        "app.graph._nodes.filter((node) => node.has_errors || !node.comfyClass).map((node) => node.type)"
    )
    assert [name for name in missing if name.startswith("SemanticEdit")] == []
    assert desk.page.evaluate("app.graph._nodes.length") == len(document["nodes"])
    once = plain(desk.saved())
    for key, node in plain(document).items():
        said = node["values"] or []
        if str(node["type"]).startswith("SemanticEdit"):  # inputs that are younger than the file come behind
            assert once[key]["values"][: len(said)] == said, f"opening changes node {key}"
        assert once[key]["wires"] == node["wires"]
    desk.show(desk.saved(), path.stem)
    assert plain(desk.saved()) == once
    desk.shot(f"template_{path.stem}")
    assert not desk.problems


@every_template
def test_nodes_do_not_lie_on_each_other(desk, path):
    version = desk.page.evaluate("window.__COMFYUI_FRONTEND_VERSION__ || '0'")
    if desk.renderer == "vue" and tuple(int(part) for part in version.split(".")[:2]) < (1, 33):
        pytest.skip("this early form of the newer renderer draws every node in a size of its own")
    desk.show(json.loads(path.read_text(encoding="utf-8")), path.stem)
    boxes = desk.page.evaluate(BOXES)
    for index, (name, *a) in enumerate(boxes):
        for other, *b in boxes[index + 1 :]:
            apart = a[2] <= b[0] + ROOM or b[2] <= a[0] + ROOM or a[3] <= b[1] + ROOM or b[3] <= a[1] + ROOM
            assert apart, f"{name} and {other} overlap in the {desk.renderer} renderer"


# Title bars belong to a node: 30 px above its position. The newer renderer says the true size by its elements.
BOXES = """() => app.graph._nodes.map((node) => {
  let [width, height] = [node.size[0], Math.max(node.size[1], node.computeSize()[1])];
  const element = document.querySelector(`[data-node-id="${node.id}"]`);
  if (element) {
    const box = element.getBoundingClientRect();
    const { scale } = app.canvas.ds;
    [width, height] = [Math.max(width, box.width / scale), Math.max(height, box.height / scale - 30)];
  }
  return [`${node.title} (${node.id})`, node.pos[0], node.pos[1] - 30, node.pos[0] + width, node.pos[1] + height];
})"""


def plain(document):
    """What of a workflow is its content: sizes and names that a frontend adds by itself are left out."""
    nodes = {}
    for node in document["nodes"]:
        nodes[node["id"]] = {
            "type": node["type"],
            # ComfyUI's own nodes change their values while they open (a preview's text); ours do not.
            "values": node.get("widgets_values") if str(node["type"]).startswith("SemanticEdit") else None,
            "wires": {
                entry["name"]: entry.get("link") for entry in node.get("inputs") or [] if entry.get("link") is not None
            },
        }
    return nodes
