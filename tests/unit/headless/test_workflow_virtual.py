"""Nodes that live in the page alone: their wires are followed, and those with none are left out."""

import logging
import time

import pytest
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.run.catalog import core_nodes, describe
from semantic_edit.headless.workflow.document import to_prompt

WIRE = [("IMAGE", "IMAGE")]


@pytest.fixture
def info(headless_host, toys):
    return describe({**core_nodes(), **toys.TOYS})


@pytest.fixture
def sheet(toys):
    return toys.Sheet()


def picture_and_save(sheet):
    """An EmptyImage, #1, and a SaveImage, #2, without a wire between them."""
    sheet.node("EmptyImage", [32, 32, 1, 255], [], ["IMAGE"])
    sheet.node("SaveImage", ["x"], [("images", "IMAGE")], [])


def source_of_save(sheet, info, node="2"):
    return to_prompt(sheet.document(), info).nodes[node]["inputs"].get("images")


@pytest.mark.parametrize("kinds", [("SetNode", "GetNode"), ("easy setNode", "easy getNode")])
@pytest.mark.parametrize("mode", [0, 2, 4])
def test_get_nodes_give_what_the_set_node_of_their_name_has(sheet, info, kinds, mode):
    picture_and_save(sheet)
    setter = sheet.node(kinds[0], ["photo"], WIRE, ["*"], mode=mode)
    getter = sheet.node(kinds[1], ["photo"], [], ["IMAGE"])
    sheet.node(kinds[0], ["other"], WIRE, ["*"])
    sheet.wire(1, 0, setter, 0)
    sheet.wire(getter, 0, 2, 0)
    assert source_of_save(sheet, info) == ["1", 0]
    assert set(to_prompt(sheet.document(), info).nodes) == {"1", "2"}


def test_a_set_node_hands_on_too_and_names_may_be_chained(sheet, info):
    picture_and_save(sheet)
    first = sheet.node("SetNode", ["a"], WIRE, ["*"])
    get_a = sheet.node("GetNode", ["a"], [], ["IMAGE"])
    reroute = sheet.node("Reroute (rgthree)", [], [("", "*")], ["IMAGE"])
    second = sheet.node("SetNode", {"Constant": "b"}, WIRE, ["*"])
    third = sheet.node("Reroute", [], [("", "*")], ["IMAGE"])
    for source, target in ((1, first), (get_a, reroute), (reroute, second), (second, third), (third, 2)):
        sheet.wire(source, 0, target, 0)
    assert source_of_save(sheet, info) == ["1", 0]


def test_set_nodes_that_get_each_other_are_a_circle(sheet, info):
    picture_and_save(sheet)
    for name, other in (("a", "b"), ("b", "a")):
        getter = sheet.node("GetNode", [other], [], ["IMAGE"])
        sheet.wire(getter, 0, sheet.node("SetNode", [name], WIRE, ["*"]), 0)
    sheet.wire(sheet.node("GetNode", ["a"], [], ["IMAGE"]), 0, 2, 0)
    with pytest.raises(WorkflowError, match="circle"):
        source_of_save(sheet, info)


@pytest.mark.parametrize("values", [["nobody"], [""], [], None, {}, [3]])
def test_a_get_node_without_its_set_node_gives_nothing(sheet, info, values, caplog):
    picture_and_save(sheet)
    sheet.node("SetNode", ["photo"], WIRE, ["*"])
    sheet.wire(sheet.node("GetNode", values, [], ["IMAGE"]), 0, 2, 0)
    with caplog.at_level(logging.WARNING):
        assert source_of_save(sheet, info) is None
    assert "no Set node sets its name" in caplog.text


def saver_inside(toys, sheet):
    """A subgraph that saves what a Get node gives; returns the sheet inside of it."""
    inner = toys.Sheet()
    inner.node("SaveImage", ["x"], [("images", "IMAGE")], [])
    inner.wire(inner.node("GetNode", ["photo"], [], ["IMAGE"]), 0, 1, 0, as_dict=True)
    sheet.definitions.append(inner.definition("group", [], []))
    return inner


def test_get_nodes_look_into_the_graphs_around_theirs(sheet, info, toys):
    inner = saver_inside(toys, sheet)
    picture_and_save(sheet)
    sheet.wire(1, 0, sheet.node("SetNode", ["photo"], WIRE, ["*"]), 0)
    sheet.node("group", [], [], [])
    assert source_of_save(sheet, info, "4:1") == ["1", 0]
    empty = inner.node("EmptyImage", [8, 8, 1, 0], [], ["IMAGE"])
    inner.wire(empty, 0, inner.node("SetNode", ["photo"], WIRE, ["*"]), 0, as_dict=True)
    assert source_of_save(sheet, info, "4:1") == ["4:3", 0]  # its own first
    sheet.wire(sheet.node("GetNode", ["photo"], [], ["IMAGE"]), 0, 2, 0)
    assert source_of_save(sheet, info) == ["1", 0]  # what is set inside is not seen outside


def test_several_set_nodes_of_one_name_around_are_refused(sheet, info, toys):
    saver_inside(toys, sheet)
    for _ in range(2):
        sheet.node("SetNode", ["photo"], WIRE, ["*"])
    sheet.node("group", [], [], [])
    with pytest.raises(WorkflowError, match="'photo', which several Set nodes set: #1 and #2"):
        to_prompt(sheet.document(), info)


@pytest.mark.parametrize(
    "kind", ["Label", "Bookmark", "Fast Groups Bypasser", "Fast Groups Muter", "Fast Bypasser", "Node Collector"]
)
def test_labels_and_panels_are_left_out(sheet, info, kind):
    picture_and_save(sheet)
    sheet.wire(1, 0, 2, 0)
    panel = sheet.node(f"{kind} (rgthree)", [], [("", "*")], ["*"], title="Step 1")
    relay = sheet.node("Mute / Bypass Relay (rgthree)", [], [("", "*")], ["_NODE_REPEATER_"])
    sheet.wire(1, 0, panel, 0)
    sheet.wire(panel, 0, relay, 0)
    assert set(to_prompt(sheet.document(), info).nodes) == {"1", "2"}


def test_an_unknown_node_is_left_out_where_nothing_hangs_on_it(sheet, info, caplog):
    picture_and_save(sheet)
    sheet.wire(1, 0, 2, 0)
    sheet.node("Fancy Label", ["hello"], [("text", "STRING")], ["*"])
    with caplog.at_level(logging.WARNING):
        assert set(to_prompt(sheet.document(), info).nodes) == {"1", "2"}
    assert "Fancy Label (#3)" in caplog.text
    sheet.wire(1, 0, 3, 0)
    with pytest.raises(WorkflowError, match="'Fancy Label', which is not installed here"):
        to_prompt(sheet.document(), info)


def test_a_real_node_of_such_a_name_runs(sheet, info):
    picture_and_save(sheet)
    info["SetNode"] = info["ImageInvert"]
    setter = sheet.node("SetNode", [], [("image", "IMAGE")], ["IMAGE"])
    sheet.wire(1, 0, setter, 0)
    sheet.wire(setter, 0, 2, 0)
    assert source_of_save(sheet, info) == ["3", 0]


def test_many_wires_through_a_long_chain_take_linear_time(sheet, info):
    picture_and_save(sheet)
    last = 1
    for _ in range(5000):
        reroute = sheet.node("Reroute", None, [("", "*")], ["IMAGE"])
        sheet.nodes[-1]["inputs"][0]["link"] = len(sheet.links) + 1
        sheet.links.append([len(sheet.links) + 1, last, 0, reroute, 0, "*"])
        last = reroute
    for _ in range(5000):
        sheet.node("PreviewImage", [], [("images", "IMAGE")], [])
        sheet.nodes[-1]["inputs"][0]["link"] = len(sheet.links) + 1
        sheet.links.append([len(sheet.links) + 1, last, 0, sheet.count, 0, "*"])
    begun = time.process_time()
    assert source_of_save(sheet, info, str(sheet.count)) == ["1", 0]
    assert time.process_time() - begun < 10  # a second; step by step it would be 25 million steps


def test_sockets_without_bound_are_refused(sheet, info):
    sheet.node("EmptyImage", [], [("", "*")] * 3000)
    with pytest.raises(WorkflowError, match="3000 inputs, more than 2000"):
        to_prompt(sheet.document(), info)


def test_links_that_subgraphs_multiply_are_refused(sheet, info):
    links = [[number, 1, 0, 2, 0, "*"] for number in range(1000)]
    sheet.definitions.append({"id": "many", "nodes": [], "links": links})
    for _ in range(600):
        sheet.node("many", [], [])
    with pytest.raises(WorkflowError, match="more than 500000 links"):
        to_prompt(sheet.document(), info)
