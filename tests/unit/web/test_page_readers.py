"""What the page reads from typed text, tried in Node.js: the right values, in linear time, within bounds."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

LIB = Path(__file__).parents[3] / "web" / "lib"
NODE = shutil.which("node")
SECONDS = 60  # of one call; each takes a fraction of a second, and the old ones minutes
BLANKS = " " * 400
EDIT = {"rows": [0, 1, 2, 5], "parts": ["hair"], "count": 8}

pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")


def call(module, function, *arguments):
    """Call a function of the page's modules in Node.js and return its result."""
    script = f"""
        const library = await import({json.dumps((LIB / module).as_uri())});
        let text = "";
        for await (const part of process.stdin) text += part;
        process.stdout.write(JSON.stringify(library[{json.dumps(function)}](...JSON.parse(text))) ?? "null");
    """
    command = [NODE, "--no-warnings", "--input-type=module", "-e", script]
    done = subprocess.run(
        command, input=json.dumps(arguments).encode(), capture_output=True, timeout=SECONDS, check=True
    )
    return json.loads(done.stdout)


def drags(text, canvas=(100, 100)):
    result = call("points.js", "parsePoints", text, "auto", list(canvas))
    return [[*drag["from"], *drag["to"]] for drag in result["drags"]], result["problem"]


@pytest.mark.parametrize(
    "text",
    [
        "10,20 -> 30,40\n50,60 -> 70,80",
        "# two\n (10, 20) => (30, 40) ;\n\n[50 60] to [70 80]  # the second",
        "10;20→30 ; 40 , ,\n50\t60->70 80",
        json.dumps([[[10, 20]] + [[5, 5]] * 100_000 + [[30, 40]], [50, 60, 70, 80]]),
    ],
)
def test_points_are_read(text):
    assert drags(text) == ([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]], "")


@pytest.mark.parametrize(
    "text",
    [
        f"1{BLANKS}1{BLANKS}->{BLANKS}1{BLANKS}1{BLANKS}!",
        f"{'9' * 200} {'9' * 200}->{'9' * 200} {'9' * 200}x",
        "1,2 -> 3,4" + " ;" * 100_000 + "x",
        "1,2,3 -> 4,5",
        "[" * 100_000,
        "1,2 -> 3,4 -> 5,6",
    ],
)
def test_points_that_made_it_backtrack(text):
    assert drags(text) == ([], "These points cannot be shown here; change them as text.")


def test_more_points_than_the_node_takes_are_not_drawn():
    everything = json.dumps([[k, k] for k in range(200_000)])
    assert drags(everything) == ([], "There are 100000 drags; at most 64 are possible.")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("0-2000000000", [0, 1, 2, 5]),
        ("5, 0 - 1", [5, 0, 1]),
        ("all", [0, 1, 2, 5]),
        ("0-9," * 50_000, [0, 1, 2, 5]),
        ("9", []),
        ("fine", None),
        ("1" + " " * 100_000 + "x", None),
    ],
)
def test_rows_cost_what_the_edit_has(text, rows):
    assert call("rows.js", "readRows", text, EDIT) == rows


@pytest.mark.parametrize(
    "change", [{"count": 2e9, "rows": [1]}, {"rows": 3}, {"rows": [9]}, {"parts": ["x"] * 1000}, {"count": None}]
)
def test_an_edit_of_a_stranger_that_cannot_be_shown(change):
    assert call("rows.js", "readEdit", EDIT) == {**EDIT, "weights": []}
    assert call("rows.js", "readEdit", {**EDIT, **change}) is None
    assert call("rows.js", "readEdit", None) is None


def test_strokes_are_read():
    read = call("strokes.js", "parseStrokes", "0.05: 0.1 0.2, 0.3 0.4\n -.1 :1 1\n0.5 0.5")
    radii = [(stroke["radius"], stroke["points"]) for stroke in read["strokes"]]
    assert radii == [(0.05, [[0.1, 0.2], [0.3, 0.4]]), (-0.1, [[1, 1]]), (None, [[0.5, 0.5]])]


@pytest.mark.parametrize("text", ["9" * 300_000 + "x", "0.1 " * 200_000, "0.1: ", "0.5 0.5\n" * 3000])
def test_strokes_that_are_too_much_are_told(text):
    assert "strokes" in call("strokes.js", "parseStrokes", text)["problem"]
