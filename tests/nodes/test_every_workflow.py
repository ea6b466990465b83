"""What every shipped workflow promises: known nodes, sound wires, fitting values, a tidy sheet, a note, a thumbnail."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image
from semantic_edit.headless.run.catalog import describe, installed_nodes
from semantic_edit.headless.workflow.flatten import flatten
from semantic_edit.headless.workflow.virtual import NOTES
from semantic_edit.headless.workflow.widgets import input_specs

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
FILES = sorted(FOLDER.glob("*.json"))
INFO = describe(installed_nodes())
TITLE = 30  # px of a node's title bar, above its position
FREE_TEXT_FILES = {"file", "folder", "image", "picture", "ckpt_name"}  # their choices depend on what is in the folders

# Node -> px that its editor in the page wants at least, besides the node's own inputs.
EDITORS = {
    kind: min(int(height) for height in heights)
    for script in sorted((FOLDER.parent / "web").glob("*.js"))
    if (heights := re.findall(r"this\.height = (\d+);", script.read_text(encoding="utf-8")))
    for kind in re.findall(r'register\("\w+", "(\w+)"', script.read_text(encoding="utf-8"))
}

every_workflow = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def box(node: dict) -> tuple[float, float, float, float]:
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def apart(a: tuple, b: tuple) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def inside(a: tuple, b: tuple) -> bool:
    return b[0] <= a[0] and b[1] <= a[1] and a[2] <= b[2] and a[3] <= b[3]


def test_there_are_workflows():
    assert "generate_and_blend" in {path.stem for path in FILES}


@every_workflow
def test_nodes_are_known_and_widgets_have_the_values_they_need(path):
    document = read(path)
    for node_id, node in flatten(document, INFO).items():
        for name, group, kind, options in input_specs(INFO[node["class_type"]]):
            where = f"node {node_id} ({node['class_type']}).{name}"
            value = node["inputs"].get(name)
            assert value is not None or group == "optional", f"{where} has neither a wire nor a value"
            choices = kind if isinstance(kind, list) else options.get("options")
            if choices and not isinstance(value, list) and name not in FREE_TEXT_FILES:
                assert value in choices, f"{where}: {value!r} is none of {choices}"
            if isinstance(value, int | float) and not isinstance(value, bool) and "min" in options:
                assert options["min"] <= value <= options["max"], where


@every_workflow
def test_wires_agree_on_both_ends(path):
    document = read(path)
    nodes = {node["id"]: node for node in document["nodes"]}
    assert len(nodes) == len(document["nodes"]) and max(nodes) <= document["last_node_id"]
    for link, source, slot, target, entry, kind in document["links"]:
        assert link <= document["last_link_id"]
        output, entrance = nodes[source]["outputs"][slot], nodes[target]["inputs"][entry]
        assert link in output["links"] and entrance["link"] == link
        assert kind == output["type"] and kind in entrance["type"].split(",") + [output["type"]]
        if nodes[source]["type"] in INFO:
            info = INFO[nodes[source]["type"]]
            assert output["type"] == info["output"][slot] and output["name"] == info["output_name"][slot]


@every_workflow
def test_the_sheet_is_tidy(path):
    document = read(path)
    for a, b in combinations(document["nodes"], 2):
        assert apart(box(a), box(b)), f"nodes {a['id']} and {b['id']} overlap"
    groups = {group["title"]: tuple(group["bounding"]) for group in document["groups"]}
    frames = {title: (x, y, x + width, y + height) for title, (x, y, width, height) in groups.items()}
    for (first, a), (second, b) in combinations(frames.items(), 2):
        assert apart(a, b), f"groups {first!r} and {second!r} overlap"
    for node in document["nodes"]:
        if node["type"] not in NOTES:
            assert any(inside(box(node), frame) for frame in frames.values()), f"node {node['id']} is in no group"


@every_workflow
def test_nodes_with_an_editor_have_room_for_it(path):
    """ComfyUI makes a node as tall as its editor wants, over whatever lies below it."""
    for node in read(path)["nodes"]:
        if node["type"] in EDITORS:
            assert node["size"][1] > EDITORS[node["type"]], node["type"]


# Of nodes that work for seconds and show pictures meanwhile: their height then, in the classic renderer.
GROWN = {
    "SemanticEditOptimizeEmbedding": 554, "SemanticEditTuneModel": 722, "SemanticEditTunePhotos": 602,
    "SemanticEditSweepPhotos": 622, "SemanticEditReachCommonState": 414, "SemanticEditInvertImages": 594,
}  # fmt: skip


@every_workflow
def test_nodes_that_show_pictures_while_they_work_have_room_for_them(path):
    """ComfyUI makes them as tall as that, and they stay so."""
    nodes = read(path)["nodes"]
    for node in nodes:
        height = max(node["size"][1], GROWN.get(node["type"], 0))
        grown = box({**node, "size": [node["size"][0], height]})
        over = [other["id"] for other in nodes if other is not node and not apart(grown, box(other))]
        assert not over, f"{node['type']} {node['id']} grows over {over}"


def test_editors_are_known():
    assert EDITORS["SemanticEditLoadDirection"] == 250 and len(EDITORS) > 5


@every_workflow
def test_a_note_explains_it_and_a_thumbnail_shows_it(path):
    notes = [node for node in read(path)["nodes"] if node["type"] in NOTES]
    assert notes and len(notes[0]["widgets_values"][0]) > 100
    with Image.open(path.with_suffix(".jpg")) as picture:
        assert picture.format == "JPEG" and 256 <= min(picture.size) and max(picture.size) <= 1024
    assert path.with_suffix(".jpg").stat().st_size < 200_000


@every_workflow
def test_seeds_stay_fixed_until_a_person_changes_that(path):
    for node in read(path)["nodes"]:
        assert not {"randomize", "increment", "decrement"} & {str(v) for v in node.get("widgets_values") or []}


def test_every_thumbnail_has_its_workflow():
    assert {path.stem for path in FOLDER.glob("*.jpg")} <= {path.stem for path in FILES}
