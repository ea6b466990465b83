"""Every template in a real browser, in both renderers: it opens without complaint, fits, and is saved as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

FOLDER = "semantic-edit-clone"
FILES = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
OWN_FILES = {"pair_edit_folder": {"SemanticEditLoadPairEdit"}}  # marked where the user's file is not there yet
ROOM = 6  # px that a frontend may draw a node larger than the sheet says

every_template = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@every_template
def test_it_opens_and_is_saved_as_it_was(desk, path):
    desk.problems.clear()
    document = json.loads(path.read_text(encoding="utf-8"))
    desk.show(document, path.stem)
    missing = desk.page.evaluate(
        """() => app.graph._nodes.filter((node) => node.has_errors || !(node.comfyClass || node.isVirtualNode))
          .map((node) => node.type)"""
    )
    ours = {name for name in missing if name.startswith("SemanticEdit")}
    assert ours <= OWN_FILES.get(path.stem, set())
    assert desk.page.evaluate("app.graph._nodes.length") == len(document["nodes"])
    once = plain(desk.saved())
    for key, node in plain(document).items():
        said = node["values"] or []
        if str(node["type"]).startswith("SemanticEdit"):  # inputs that are younger than the file come behind
            assert (once[key]["values"] or [])[: len(said)] == said, f"opening changes node {key}"
        assert once[key]["wires"] == node["wires"]
    desk.show(desk.saved(), path.stem)
    assert plain(desk.saved()) == once
    desk.shot(f"template_{path.stem}")
    assert not desk.problems


@every_template
def test_nodes_do_not_lie_on_each_other(desk, path):
    if desk.early:
        pytest.skip("this early form of the newer renderer draws every node in a size of its own")
    desk.show(json.loads(path.read_text(encoding="utf-8")), path.stem)
    check_apart(desk.boxes(), f"in the {desk.renderer} renderer")


def check_apart(boxes, where):
    for index, (name, *a) in enumerate(boxes):
        for other, *b in boxes[index + 1 :]:
            apart = a[2] <= b[0] + ROOM or b[2] <= a[0] + ROOM or a[3] <= b[1] + ROOM or b[3] <= a[1] + ROOM
            assert apart, f"{name} and {other} overlap {where}"


@every_template
def test_it_runs_and_its_pictures_appear(desk, path):
    """Opened from the server as the template list does, queued by the key; every output node shows what it has made."""
    if desk.early or (desk.renderer == "vue" and path.stem not in RUN_IN_BOTH and not os.environ.get("BROWSER_ALL")):
        pytest.skip("the run is the server's, and the same in both renderers")
    desk.problems.clear()
    document = desk.page.evaluate(
        "async ([folder, name]) => (await fetch(`/api/workflow_templates/${folder}/${name}.json`)).json()",
        [FOLDER, path.stem],
    )
    assert document == json.loads(path.read_text(encoding="utf-8"))
    for node in document["nodes"]:
        for place, value in SHORTER.get((path.stem, node["type"]), {}).items():
            node["widgets_values"][place] = value
    desk.show(document, path.stem)
    desk.fit()
    before = desk.boxes()
    ended, message = desk.run(seconds=900)
    assert ended == "execution_success", message
    desk.fit()
    desk.shot(f"ran_{path.stem}")
    after = desk.boxes()
    note_sizes(desk.renderer, path.stem, after)
    results = desk.page.evaluate(RESULTS, desk.renderer == "vue")
    assert any(pictures for *_, pictures in results)
    for name, sent, asked, pictures in results:
        assert sent, f"{name} shows nothing"
        assert pictures == asked, f"{name} shows {pictures} of {asked} pictures"
    assert not desk.problems
    # Pictures of results have their room. (How many steps a node shows on its way depends on the machine.)
    shows = {name for name, *_ in results}
    check_apart([new if new[0] in shows else old for old, new in zip(before, after, strict=True)], "after a run")


def note_sizes(renderer, name, boxes):
    """For whoever lays out a template: what room its nodes take after a run."""
    if os.environ.get("BROWSER_SHOTS"):
        file = Path(os.environ["BROWSER_SHOTS"]) / f"sizes_{renderer}.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        known[name] = {
            title.rpartition("(")[2][:-1]: [left, top + 30, right - left, bottom - top - 30]
            for title, left, top, right, bottom in boxes
        }
        file.write_text(json.dumps(known))


# In the newer renderer; BROWSER_ALL=1: all of them.
RUN_IN_BOTH = ("edit_one_for_all", "drag_one_edit_all", "generate_and_blend", "text_edit_refine")
# imagic.json is set for a photo of 512 pixels on a GPU: here it takes as few steps as show that it works.
SHORTER = {
    ("imagic", "SemanticEditOptimizeEmbedding"): {0: 5},
    ("imagic", "SemanticEditTuneModel"): {1: 5},
    ("imagic", "KSampler"): {2: 4},
}

# Of every output node: what came from the server, how many pictures, and how many of them the page has loaded.
RESULTS = """(vue) => {
  const found = [];
  for (const node of app.graph._nodes) {
    if (!node.constructor.nodeData?.output_node || node.mode) continue;
    const output = app.nodeOutputs[node.id] ?? {};
    const element = node.semanticEdit?.element ?? document.querySelector(`[data-node-id="${node.id}"]`);
    const shown = node.imgs?.length ? node.imgs : [...(element?.querySelectorAll("img") ?? [])];
    const drawn = node.semanticEdit?.picture ? 1 : 0; // on a canvas
    const loaded = drawn + shown.filter((image) => image.complete && image.naturalWidth > 0).length;
    const many = (output.images ?? []).length; // of which the newer renderer shows one at a time
    const asked = node.semanticEdit ? 1 : vue ? Math.min(1, many) : many;
    found.push([`${node.title} (${node.id})`, Object.keys(output).length, asked, Math.min(asked, loaded)]);
  }
  return found;
}"""


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
