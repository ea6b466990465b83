"""UI-format files become the prompt that ComfyUI's own frontend would queue."""

import json

import pytest
from PIL import Image, PngImagePlugin
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.run.catalog import core_nodes, describe
from semantic_edit.headless.workflow.document import read_document, to_prompt

NOISE = [("seed", "INT", "widget"), ("size", "INT", "widget")]


@pytest.fixture
def info(headless_host, toys):
    return describe({**core_nodes(), **toys.TOYS})


@pytest.fixture
def sheet(toys):
    return toys.Sheet()


def nodes_of(sheet, info):
    return to_prompt(sheet.document(), info).nodes


def test_the_seeds_extra_widget_is_skipped(sheet, info):
    noise = sheet.node("ToyNoise", [7, "randomize", 16], NOISE, ["IMAGE"], title="My noise")
    show = sheet.node("ToyShow", [], [("value", "*")], [])
    sheet.wire(noise, 0, show, 0)
    nodes = nodes_of(sheet, info)
    assert nodes["1"] == {"class_type": "ToyNoise", "inputs": {"seed": 7, "size": 16}, "_meta": {"title": "My noise"}}
    assert nodes["2"]["inputs"] == {"value": ["1", 0]}


def test_files_without_the_extra_widget_read_too(sheet, info):
    sheet.node("ToyNoise", [7, 16], NOISE)
    assert nodes_of(sheet, info)["1"]["inputs"] == {"seed": 7, "size": 16}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": 9, "nonsense": 1}, {"seed": 0, "size": 9}),
        ([], {"seed": 0, "size": 8}),
        (None, {"seed": 0, "size": 8}),
        ([None, "fixed", 12], {"seed": 0, "size": 12}),
    ],
)
def test_widget_values_by_name_and_missing_ones(sheet, info, values, expected):
    sheet.node("ToyNoise", values, NOISE)
    assert nodes_of(sheet, info)["1"]["inputs"] == expected


def test_upload_buttons_value_is_no_input(sheet, info):
    sheet.node("LoadImageMask", ["a.png", "red", "image"])
    assert nodes_of(sheet, info)["1"]["inputs"] == {"image": "a.png", "channel": "red"}


def test_a_muted_node_sends_nothing(sheet, info):
    noise = sheet.node("ToyNoise", [7, "fixed", 8], NOISE, ["IMAGE"], mode=2)
    scale = sheet.node("ToyScale", [2.0, "divide"], [("image", "IMAGE")], ["IMAGE"])
    sheet.wire(noise, 0, scale, 0)
    assert nodes_of(sheet, info) == {
        "2": {"class_type": "ToyScale", "inputs": {"by": 2.0, "mode": "divide"}, "_meta": {"title": "ToyScale"}}
    }


def test_a_bypassed_node_hands_through_what_fits(sheet, info):
    noise = sheet.node("ToyNoise", [7, "fixed", 8], NOISE, ["IMAGE"])
    scale = sheet.node("ToyScale", [2.0, "divide"], [("by", "FLOAT"), ("image", "IMAGE")], ["IMAGE"], mode=4)
    invert = sheet.node("ImageInvert", [], [("image", "IMAGE")], ["IMAGE"])
    sheet.wire(noise, 0, scale, 1)
    sheet.wire(scale, 0, invert, 0)
    assert nodes_of(sheet, info)["3"]["inputs"] == {"image": ["1", 0]}


def test_bypassing_a_source_leaves_its_targets_value(sheet, info):
    add = sheet.node("ToyAdd", [1, 2], [], ["INT"], mode=4)
    other = sheet.node("ToyAdd", [3, 4], [("a", "INT", "widget")], ["INT"])
    sheet.wire(add, 0, other, 0)
    assert nodes_of(sheet, info)["2"]["inputs"] == {"a": 3, "b": 4}


def test_reroutes_primitives_and_notes_vanish(sheet, info):
    primitive = sheet.node("PrimitiveNode", [5, "fixed"], [], ["INT"])
    reroute = sheet.node("Reroute", None, [("", "*")], ["INT"])
    again = sheet.node("Reroute", None, [("", "*")], ["INT"])
    sheet.node("Note", ["remember"], [], [])
    sheet.node("MarkdownNote", ["# remember"], [], [])
    add = sheet.node("ToyAdd", [1, 2], [("b", "INT", "widget")], ["INT"])
    sheet.wire(primitive, 0, reroute, 0)
    sheet.wire(reroute, 0, again, 0)
    sheet.wire(again, 0, add, 0)
    assert nodes_of(sheet, info) == {
        "6": {"class_type": "ToyAdd", "inputs": {"a": 1, "b": 5}, "_meta": {"title": "ToyAdd"}}
    }


def subgraph(toys, name="group"):
    """A subgraph with inputs x (wire) and n (a widget of its own), that adds and adds again: ((x + n) + 100)."""
    inner = toys.Sheet()
    first = inner.node("ToyAdd", [1, 2], [("a", "INT", "widget"), ("b", "INT", "widget")], ["INT"])
    second = inner.node("ToyAdd", [0, 100], [("a", "INT", "widget")], ["INT"])
    inner.wire(-10, 0, first, 0, as_dict=True)
    inner.wire(-10, 1, first, 1, as_dict=True)
    inner.wire(first, 0, second, 0, as_dict=True)
    inner.wire(second, 0, -20, 0, as_dict=True)
    return inner.definition(name, ["x", "n"], ["sum"])


def test_a_subgraph_unfolds_once_per_instance(toys, sheet, info):
    sheet.definitions.append(subgraph(toys))
    add = sheet.node("ToyAdd", [20, 22], [], ["INT"])
    sockets = [("x", "INT"), ("n", "INT", "widget")]
    one = sheet.node("group", [9], sockets, ["INT"])
    two = sheet.node("group", [], sockets, ["INT"])
    show = sheet.node("ToyShow", [], [("value", "*")], [])
    sheet.wire(add, 0, one, 0)
    sheet.wire(one, 0, two, 0)
    sheet.wire(two, 0, show, 0)
    nodes = nodes_of(sheet, info)
    assert {node_id: node["inputs"] for node_id, node in nodes.items()} == {
        "1": {"a": 20, "b": 22},
        "2:1": {"a": ["1", 0], "b": 9},
        "2:2": {"a": ["2:1", 0], "b": 100},
        "3:1": {"a": ["2:2", 0], "b": 2},
        "3:2": {"a": ["3:1", 0], "b": 100},
        "4": {"value": ["3:2", 0]},
    }


def test_values_set_on_an_instance_reach_inner_nodes(toys, sheet, info):
    sheet.definitions.append(subgraph(toys))
    proxies = {"proxyWidgets": [["-1", "n"], ["2", "b"]]}
    sheet.node("group", [9, 300], [("x", "INT"), ("n", "INT", "widget")], ["INT"], properties=proxies)
    nodes = nodes_of(sheet, info)
    assert nodes["1:1"]["inputs"] == {"a": 1, "b": 9}
    assert nodes["1:2"]["inputs"] == {"a": ["1:1", 0], "b": 300}


def test_newer_files_name_the_values_of_an_instance(toys, sheet, info):
    """The frontend of 1.58 leaves out inputs that are widgets without a wire, and says the values by name."""
    sheet.definitions.append(subgraph(toys))
    sheet.node("group", [9], [("x", "INT")], ["INT"], widgets_values_named={"n": 9})
    sheet.node("group", [None], [("x", "INT")], ["INT"], widgets_values_named={"n": None})
    nodes = nodes_of(sheet, info)
    assert nodes["1:1"]["inputs"] == {"a": 1, "b": 9}
    assert nodes["2:1"]["inputs"] == {"a": 1, "b": 2}


def test_subgraphs_nest_and_pass_through(toys, sheet, info):
    outer = toys.Sheet()
    inner = outer.node("group", [], [("x", "INT"), ("n", "INT", "widget")], ["INT"])
    outer.wire(-10, 0, inner, 0, as_dict=True)
    outer.wire(inner, 0, -20, 0, as_dict=True)
    outer.wire(-10, 0, -20, 1, as_dict=True)
    sheet.definitions += [subgraph(toys), outer.definition("outer", ["x"], ["sum", "same"])]
    add = sheet.node("ToyAdd", [20, 22], [], ["INT"])
    nest = sheet.node("outer", [], [("x", "INT")], ["INT", "INT"])
    last = sheet.node("ToyAdd", [0, 0], [("a", "INT", "widget"), ("b", "INT", "widget")], ["INT"])
    sheet.wire(add, 0, nest, 0)
    sheet.wire(nest, 0, last, 0)
    sheet.wire(nest, 1, last, 1)
    nodes = nodes_of(sheet, info)
    assert nodes["2:1:1"]["inputs"] == {"a": ["1", 0], "b": 2}
    assert nodes["3"]["inputs"] == {"a": ["2:1:2", 0], "b": ["1", 0]}


@pytest.mark.parametrize(("mode", "expected"), [(2, {"b": 4}), (4, {"a": ["1", 0], "b": 4})])
def test_muting_and_bypassing_a_subgraph(toys, sheet, info, mode, expected):
    sheet.definitions.append(subgraph(toys))
    add = sheet.node("ToyAdd", [20, 22], [], ["INT"])
    group = sheet.node("group", [], [("x", "INT"), ("n", "INT", "widget")], ["INT"], mode=mode)
    last = sheet.node("ToyAdd", [3, 4], [("a", "INT", "widget")], ["INT"])
    sheet.wire(add, 0, group, 0)
    sheet.wire(group, 0, last, 0)
    nodes = nodes_of(sheet, info)
    assert set(nodes) == {"1", "3"}
    assert nodes["3"]["inputs"] == expected


def break_link(sheet):
    sheet.nodes[-1]["inputs"][0]["link"] = 99


def break_source(sheet):
    sheet.links[0][1] = 99


def self_reroute(sheet):
    sheet.nodes[0].update(type="Reroute", inputs=[{"name": "", "type": "*", "link": 1}])
    sheet.links[0][1:4] = [1, 0, 1]


def no_type(sheet):
    del sheet.nodes[0]["type"]


def own_definition(sheet):
    sheet.definitions.append({"id": "ToyNoise", "name": "me", "nodes": [{"id": 1, "type": "ToyNoise"}], "links": []})


def many_definitions(sheet):
    for level in range(40):
        nodes = [{"id": number, "type": f"level {level + 1}"} for number in range(4)]
        sheet.definitions.append({"id": f"level {level}", "nodes": nodes, "links": []})
    sheet.nodes[0]["type"] = "level 0"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_link, "link 99"),
        (break_source, "node #99"),
        (self_reroute, "circle"),
        (no_type, "no type"),
        (own_definition, "contains itself"),
        (many_definitions, "more than 20000"),
        (lambda sheet: sheet.nodes[0].update(type="workflow>mine"), "group node"),
        (lambda sheet: sheet.nodes[0].update(type="Missing"), "'Missing', which is not installed"),
        (lambda sheet: sheet.nodes[1].update(mode=2) or sheet.nodes[0].update(mode=2), "no node that runs"),
        (lambda sheet: sheet.links.__setitem__(0, "wire"), "not a link"),
        (lambda sheet: sheet.nodes[1].update(inputs=[3]), "damaged"),
    ],
)
def test_damage_is_a_sentence(sheet, info, damage, words):
    noise = sheet.node("ToyNoise", [7, "fixed", 8], NOISE, ["IMAGE"])
    scale = sheet.node("ToyScale", [], [("image", "IMAGE")], ["IMAGE"])
    sheet.wire(noise, 0, scale, 0)
    damage(sheet)
    with pytest.raises(WorkflowError, match=words):
        nodes_of(sheet, info)


def test_a_picture_carries_its_workflow(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", json.dumps({"1": {"class_type": "ToyAdd"}}))
    texts.add_text("workflow", json.dumps({"nodes": [], "links": []}))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=texts)
    assert read_document(tmp_path / "a.png") == {"nodes": [], "links": []}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.json", None, "no workflow file"),
        ("text.json", b"hello", "cannot be read as JSON"),
        ("binary.json", b"\xff\xfe\x00", "cannot be read as JSON"),
        ("list.json", b"[1]", "found a list"),
        ("deep.json", b"[" * 100_000, "cannot be read as JSON"),
        ("empty.json", b"{}", "empty"),
        ("other.json", b'{"name": "x"}', "neither of ComfyUI's formats"),
        ("inputs.json", b'{"1": {"class_type": "A", "inputs": [1]}}', "expected names with values"),
        ("text.png", b"hello", "not a picture"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WorkflowError, match=words):
        to_prompt(read_document(tmp_path / name), {})


def test_a_picture_without_workflow_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(WorkflowError, match="carries no workflow"):
        read_document(tmp_path / "a.png")


def test_the_body_of_a_queued_prompt_reads(info):
    nodes = {"1": {"class_type": "ToyAdd", "inputs": {"a": 1}}}
    assert to_prompt({"prompt": nodes, "client_id": "x"}, info).nodes["1"]["inputs"] == {"a": 1}
