"""Values on subgraph instances belong to the inputs that ComfyUI's page gives them to."""

import copy

import pytest
from semantic_edit.headless.run.catalog import core_nodes, describe
from semantic_edit.headless.workflow.document import to_prompt

WIDE, GREEN = 48, 65280  # set on the instance; inside stand 32 and 255


@pytest.fixture
def info(headless_host, toys):
    return describe({**core_nodes(), **toys.TOYS})


@pytest.fixture
def colour(toys):
    """A sheet with a subgraph whose inputs, in this order, are a wire, EmptyImage's width and its colour."""
    inner = toys.Sheet()
    sockets = [("width", "INT", "widget"), ("color", "INT", "widget")]
    empty = inner.node("EmptyImage", [32, 32, 1, 255], sockets, ["IMAGE"])
    other = inner.node("ImageInvert", [], [("image", "IMAGE")], ["IMAGE"])
    inner.wire(-10, 0, other, 0, as_dict=True)
    inner.wire(-10, 2, empty, 1, as_dict=True)  # not in the order of the inputs
    inner.wire(-10, 1, empty, 0, as_dict=True)
    inner.wire(empty, 0, -20, 0, as_dict=True)
    sheet = toys.Sheet()
    sheet.definitions.append(inner.definition("group", ["photo", "width", "color"], ["IMAGE"]))
    return sheet


def size_and_colour(sheet, info, node="1:1"):
    inputs = to_prompt(copy.deepcopy(sheet.document()), info).nodes[node]["inputs"]
    return inputs["width"], inputs["color"]


LABELLED = {"name": "color", "type": "*", "link": None, "label": "Farbe", "widget": {"name": "color"}}
PLAIN = {"name": "photo", "type": "*", "link": None}


@pytest.mark.parametrize(
    ("inputs", "more", "expected"),
    [
        ([], {"widgets_values": [WIDE, GREEN]}, (WIDE, GREEN)),  # inputs that are widgets without a wire are left out
        ([PLAIN, LABELLED], {"widgets_values": [WIDE, GREEN]}, (WIDE, GREEN)),  # a renamed one stays
        ([LABELLED], {"widgets_values": [None, GREEN]}, (32, GREEN)),
        ([], {"widgets_values": [WIDE]}, (WIDE, 255)),
        ([], {"widgets_values": []}, (32, 255)),
        ([], {"widgets_values": None}, (32, 255)),
        ([], {"widgets_values": {"width": WIDE}}, (32, 255)),  # as the page reads it
        ([], {"widgets_values": [WIDE, GREEN], "properties": {"proxyWidgets": []}}, (WIDE, GREEN)),
        ([], {"widgets_values": [GREEN, WIDE], "properties": {"proxyWidgets": [["-1", "color"], ["-1", "width"]]}},
         (WIDE, GREEN)),
        ([], {"widgets_values": [GREEN, WIDE], "properties": {"proxyWidgets": [["1", "color"], ["1", "width"]]}},
         (WIDE, GREEN)),
        ([], {"widgets_values": [None, WIDE], "properties": {"proxyWidgets": [["9", "gone"], ["1", "width"]]}},
         (WIDE, 255)),
        ([], {"widgets_values": [WIDE], "properties": {"proxyWidgets": [["1", "width"], ["1", "color"]]}},
         (WIDE, 255)),
        ([], {"widgets_values": [WIDE], "widgets_values_named": {"width": 1, "color": GREEN}}, (WIDE, GREEN)),
        ([], {"widgets_values": [1, GREEN], "properties": {"proxyWidgetErrorQuarantine": [
            {"originalEntry": ["-1", "width"], "hostValue": WIDE},
            {"originalEntry": ["-1", "width"], "hostValue": 7},
            {"originalEntry": ["4", "color"], "hostValue": 8},
        ]}}, (WIDE, GREEN)),
    ],
)  # fmt: skip
def test_values_stand_by_position_among_the_definitions_widgets(colour, info, inputs, more, expected):
    colour.node("group", outputs=["IMAGE"])
    colour.nodes[-1].update(inputs=copy.deepcopy(inputs), **more)
    assert size_and_colour(colour, info) == expected


def test_a_wire_into_an_instance_comes_before_its_value(colour, info):
    colour.node("group", [WIDE, GREEN], [("width", "*", "widget")], ["IMAGE"])
    add = colour.node("ToyAdd", [1, 2], [], ["INT"])
    colour.wire(add, 0, 1, 0)
    assert size_and_colour(colour, info) == (["2", 0], GREEN)


def test_values_count_from_the_innermost_widgets(colour, info, toys):
    """An input of the outer frame is a widget because the inner subgraph's is; its value is the outer instance's."""
    outer = toys.Sheet()
    inner = outer.node("group", [1, 2], [("width", "INT", "widget"), ("color", "INT", "widget")], ["IMAGE"])
    outer.wire(-10, 1, inner, 0, as_dict=True)
    outer.wire(inner, 0, -20, 0, as_dict=True)
    colour.definitions.append(outer.definition("outer", ["photo", "wide"], ["IMAGE"]))
    colour.node("outer", [WIDE], [], ["IMAGE"])
    assert size_and_colour(colour, info, "1:1:1") == (WIDE, 2)


@pytest.mark.parametrize("name", ["color", "width"])
def test_an_outer_instance_sets_an_inner_one(colour, info, toys, name):
    outer = toys.Sheet()
    inner = outer.node("group", [1, 2], [], ["IMAGE"])
    outer.wire(inner, 0, -20, 0, as_dict=True)
    colour.definitions.append(outer.definition("outer", [], ["IMAGE"]))
    colour.node("outer", [9], [], ["IMAGE"], properties={"proxyWidgets": [["1", name]]})
    assert size_and_colour(colour, info, "1:1:1") == ((1, 9) if name == "color" else (9, 2))


def test_what_happens_to_a_seed_after_the_run_may_be_listed_too(info, toys):
    inner = toys.Sheet()
    noise = inner.node("ToyNoise", [1, "fixed", 2], [("seed", "INT", "widget"), ("size", "INT", "widget")], ["IMAGE"])
    inner.wire(-10, 0, noise, 0, as_dict=True)
    inner.wire(-10, 1, noise, 1, as_dict=True)
    sheet = toys.Sheet()
    sheet.definitions.append(inner.definition("group", ["seed", "size"], []))
    sheet.node("group", [7, "randomize", 16], [])
    sheet.node("group", [7, 16], [])
    nodes = to_prompt(sheet.document(), info).nodes
    assert nodes["1:1"]["inputs"] == nodes["2:1"]["inputs"] == {"seed": 7, "size": 16}


def test_inputs_of_one_name_are_told_apart_by_type(info, toys):
    inner = toys.Sheet()
    add = inner.node("ToyAdd", [1, 2], [("a", "INT", "widget"), ("b", "INT", "widget")], ["INT"])
    inner.wire(-10, 0, add, 0, as_dict=True)
    inner.wire(-10, 1, add, 1, as_dict=True)
    definition = inner.definition("group", ["x", "x"], [])
    definition["inputs"][1]["type"] = "INT"
    sheet = toys.Sheet()
    sheet.definitions.append(definition)
    source = sheet.node("ToyAdd", [3, 4], [], ["INT"])
    group = sheet.node("group", [], [("x", "INT")], [])
    sheet.wire(source, 0, group, 0)
    assert to_prompt(sheet.document(), info).nodes["2:1"]["inputs"] == {"a": 1, "b": ["1", 0]}
