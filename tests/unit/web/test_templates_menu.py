"""The menu of templates and their large notes: one order, one title, and text that is laid out as it is written."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIB = ROOT / "web" / "lib"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")


def evaluate(module, expression):
    script = (
        f"const it = await import({json.dumps((LIB / module).as_uri())}); console.log(JSON.stringify({expression}))"
    )
    done = subprocess.run([NODE, "--no-warnings", "--input-type=module", "-e", script], capture_output=True, check=True)
    return json.loads(done.stdout)


def large_notes(path):
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    return [node for node in nodes if node["type"] == "SemanticEditLargeNote"]


def test_the_menu_lists_every_template_once_under_the_title_of_its_note():
    listed = evaluate("template_list.js", "it.TEMPLATES")
    assert listed[0][0] == "edit_one_for_all" and listed[-1][0] == "all_methods"
    assert sorted(name for name, _ in listed) == sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    for name, title in listed:
        (note,) = large_notes(ROOT / "workflows" / f"{name}.json")
        assert note["widgets_values"][0].splitlines()[0] == f"# {title}"


def test_titles_hold_the_words_people_search_by():
    titles = " ".join(title for _, title in evaluate("template_list.js", "it.TEMPLATES")).lower()
    for word in ("one for all", "face", "smile", "remove", "inpaint", "batch", "glasses", "hair", "folder", "sentence"):
        assert word in titles, word


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.json")), ids=lambda path: path.stem)
def test_a_note_is_the_first_thing_at_the_upper_left_and_green_is_there(path):
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    (note,) = large_notes(path)
    assert note["pos"][0] == min(node["pos"][0] for node in nodes)
    assert note["pos"][1] <= min(node["pos"][1] for node in nodes)
    assert "**Green**" in note["widgets_values"][0] and any(node.get("bgcolor") == "#353" for node in nodes)


def test_blocks_of_a_note():
    text = "# A title\n\n  **Press Run**: and wait\nplain ** open"
    assert evaluate("note_text.js", f"it.noteBlocks({json.dumps(text)})") == [
        {"level": 1, "runs": [{"text": "A title", "strong": False}]},
        {"level": 0, "runs": [{"text": "Press Run", "strong": True}, {"text": ": and wait", "strong": False}]},
        {"level": 0, "runs": [{"text": "plain ", "strong": False}, {"text": " open", "strong": True}]},
    ]
    assert evaluate("note_text.js", "it.noteBlocks(null)") == []


def test_the_largest_size_that_fits():
    sizes = [37, 500, 3]
    assert evaluate("note_text.js", f"{sizes}.map((most) => it.largestSize((size) => size <= most))") == [37, 160, 12]
