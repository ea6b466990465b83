"""Damaged workflow files: each runs or is refused with a sentence; none crashes the runner or hangs it."""

import copy
import json
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semantic_edit.headless.workflow.document import read_document
from semantic_edit.models.errors import InputError

EXAMPLES = int(os.environ.get("SEMANTIC_EDIT_MUTATIONS", 150))
SLOW_SECONDS = 20  # one file takes milliseconds; a hang would take for ever

ODD_VALUES = st.sampled_from(
    [None, True, -1, 0, 1, 2, 4, 5, 99, 1.5, 10**30, float("nan"), float("inf"), "", "1", "*", "IMAGE", "Reroute"]
    + ["PrimitiveNode", "Note", "group", "ToyAdd", "ToyShow", "SaveImage", "../../x", "\0", "é" * 300, "a\\b"]
    + ["SetNode", "GetNode", "photo", "Label (rgthree)", "Reroute (rgthree)", "\ud800", "%S.filename_prefix%" * 9]
    + ["-1", "n", "x" * 5000, "9" * 4000, 2**64, -(10**300), [["-1", "n"]], [["1", "a"], ["1", "b"]]]
    + [[], {}, [1, 0], ["1", 0], [[]], {"__value__": [1]}, {"a": {}}, [-10, 0], [1, 1, 0, 2, 0, "*"]]
)


def sheet_document(toys):
    """A UI-format file with a seed, a bypassed and a muted node, a reroute, a primitive, a subgraph used twice."""
    inner = toys.Sheet()
    first = inner.node("ToyAdd", [1, 2], [("a", "INT", "widget"), ("b", "INT", "widget")], ["INT"])
    inner.wire(-10, 0, first, 0, as_dict=True)
    inner.wire(-10, 1, first, 1, as_dict=True)
    inner.wire(first, 0, -20, 0, as_dict=True)
    sheet = toys.Sheet()
    sheet.definitions.append(inner.definition("group", ["x", "n"], ["sum"]))
    noise = sheet.node("ToyNoise", [7, "fixed", 8], [("seed", "INT", "widget"), ("size", "INT", "widget")], ["IMAGE"])
    scale = sheet.node("ToyScale", [2.0, "divide"], [("image", "IMAGE")], ["IMAGE"], mode=4)
    save = sheet.node("SaveImage", ["pic"], [("images", "IMAGE")], [])
    primitive = sheet.node("PrimitiveNode", [5, "fixed"], [], ["INT"])
    reroute = sheet.node("Reroute", None, [("", "*")], ["INT"])
    sockets = [("x", "INT"), ("n", "INT", "widget")]
    one = sheet.node("group", [9], sockets, ["INT"], properties={"proxyWidgets": [["-1", "n"]]})
    two = sheet.node("group", [], sockets, ["INT"])
    show = sheet.node("ToyShow", [], [("value", "*")], [])
    sheet.node("ToyAdd", [1, 2], [], ["INT"], mode=2)
    sheet.node("MarkdownNote", ["# a note"], [], [])
    for wire in ((noise, scale), (scale, save), (primitive, reroute), (reroute, one), (one, two), (two, show)):
        sheet.wire(wire[0], 0, wire[1], 0)
    return sheet.document()


def page_document(toys):
    """A file as pages of 2026 write it: instances without inputs, Set and Get nodes, a prefix that names another."""
    inner = toys.Sheet()
    first = inner.node("ToyAdd", [1, 2], [("a", "INT", "widget"), ("b", "INT", "widget")], ["INT"])
    getter = inner.node("GetNode", ["number"], [], ["INT"])
    again = inner.node("ToyAdd", [0, 0], [("a", "INT", "widget")], ["INT"])
    inner.wire(-10, 1, first, 0, as_dict=True)
    inner.wire(-10, 2, first, 1, as_dict=True)
    inner.wire(getter, 0, again, 0, as_dict=True)
    inner.wire(first, 0, -20, 0, as_dict=True)
    inner.wire(again, 0, -20, 1, as_dict=True)
    outer = toys.Sheet()
    group = outer.node("group", [3, 4], [("n", "INT", "widget")], ["INT", "INT"])
    outer.wire(-10, 0, group, 0, as_dict=True)
    outer.wire(group, 0, -20, 0, as_dict=True)
    sheet = toys.Sheet()
    sheet.definitions.append(inner.definition("group", ["x", "n", "m"], ["sum", "number"]))
    sheet.definitions.append(outer.definition("outer", ["n"], ["sum"]))
    number = sheet.node("ToyAdd", [5, 6], [], ["INT"], properties={"Node name for S&R": "N"})
    setter = sheet.node("SetNode", ["number"], [("INT", "INT")], ["*"])
    quarantine = [{"originalEntry": ["-1", "m"], "hostValue": 9}]
    one = sheet.node("group", [7, 8], [], ["INT", "INT"], properties={"proxyWidgetErrorQuarantine": quarantine})
    two = sheet.node("outer", [7], [], ["INT"], properties={"proxyWidgets": [["-1", "n"], ["1", "m"]]})
    reroute = sheet.node("Reroute (rgthree)", [], [("", "*")], ["*"])
    panel = sheet.node("Fast Groups Bypasser (rgthree)", [], [("", "*")], ["*"])
    getter = sheet.node("GetNode", ["number"], [], ["INT"])
    noise = sheet.node("ToyNoise", [7, "fixed", 8], [], ["IMAGE"])
    save = sheet.node("SaveImage", ["%N.a%_%S.filename_prefix%"], [("images", "IMAGE")], [], title="S")
    shows = [sheet.node("ToyShow", [], [("value", "*")], []) for _ in range(3)]
    wires = ((number, setter), (two, reroute), (one, panel), (reroute, shows[0]), (getter, shows[1]), (one, shows[2]))
    for source, target in (*wires, (noise, save)):
        sheet.wire(source, 0, target, 0)
    return sheet.document()


DOCUMENTS = {"sheet": sheet_document, "page": page_document, "api": lambda toys: api_document()}


def api_document():
    """An API-format file with lists, a lazy switch, a list input and two outputs."""
    nodes = {
        "1": ("ToyNumbers", {"count": 3}),
        "2": ("ToyAdd", {"a": ["1", 0], "b": 4}),
        "3": ("ToyJoin", {"parts": ["2", 0], "glue": "-"}),
        "4": ("ToyShow", {"value": ["3", 0]}),
        "5": ("ToySwitch", {"choose": True, "on_true": ["2", 0], "on_false": ["6", 0]}),
        "6": ("ToyEven", {"a": 2, "b": 1}),
        "7": ("PreviewAny", {"source": ["5", 0]}),
    }
    return {
        key: {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}} for key, (kind, inputs) in nodes.items()
    }


def spots(tree):
    """Every (container, key) of a JSON tree."""
    places = []
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        places.append((tree, key))
        places += spots(value)
    return places


def mutate(draw, document):
    for _ in range(draw(st.integers(1, 4))):
        places = spots(document)
        if not places:
            return
        container, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace", "replace", "delete", "move", "duplicate"]))
        if how == "replace":
            container[key] = copy.deepcopy(draw(ODD_VALUES))
        elif how == "delete":
            del container[key]
        elif how == "move":
            other, other_key = draw(st.sampled_from(places))
            container[key] = copy.deepcopy(other[other_key])
        elif isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        else:
            container[f"{key} again"] = copy.deepcopy(container[key])


def outcome(runner, document):
    """Run a document; "ran" or "refused", anything else propagates."""
    begun = time.monotonic()
    try:
        runner.run(runner.prepare(document))
        result = "ran"
    except InputError as error:
        assert isinstance(getattr(error, "cause", error), InputError), f"a raw error: {error.cause!r}"
        assert str(error).strip() and len(str(error)) < 20_000
        result = "refused"
    assert time.monotonic() - begun < SLOW_SECONDS
    return result


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_undamaged_files_run(runner, toys, kind):
    assert outcome(runner, DOCUMENTS[kind](toys)) == "ran"


@pytest.mark.parametrize("kind", DOCUMENTS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_runs_or_is_refused(runner, toys, kind, data):
    document = DOCUMENTS[kind](toys)
    mutate(data.draw, document)
    outcome(runner, json.loads(json.dumps(document)))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(runner, toys, tmp_path, data):
    text = bytearray(json.dumps(sheet_document(toys)).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if how == "flip":
            text[place] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del text[place : place + data.draw(st.integers(1, 200))]
        else:
            text[place:place] = data.draw(st.binary(min_size=1, max_size=20))
    path = tmp_path / "damaged.json"
    path.write_bytes(bytes(text))
    try:
        document = read_document(path)
    except InputError:
        return
    outcome(runner, document)
