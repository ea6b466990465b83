"""Placeholders in file name prefixes are filled in as ComfyUI's page does."""

import time

import pytest
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.run.catalog import core_nodes, describe
from semantic_edit.headless.workflow.flatten import flatten
from semantic_edit.headless.workflow.prefixes import fill_in

NOW = time.struct_time((2026, 3, 7, 9, 5, 1, 5, 66, 0))


def filled(prefix, **inputs):
    prompt = {
        "1": {"class_type": "A", "inputs": inputs, "_meta": {"title": "My node"}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix}, "_meta": {"title": "Save"}},
    }
    fill_in(prompt, {"1": "A node", "9": "gone"}, NOW)
    return prompt["2"]["inputs"]["filename_prefix"]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("plain", "plain"),
        ("%date:yyyy-MM-dd%/x", "2026-03-07/x"),
        ("%date:yy-M-d hh.mm%", "%date:yy-M-d hh.mm%"),  # a dot means NODE.INPUT
        ("%date:yy M d hh mm ss h m s yyy%", "26 3 7 09 05 01 9 5 1 yyy"),
        ("%A node.seed%_%My node.steps%", "7_3"),
        ("%A node.text%", "a_b_c"),
        ("%A node.choice%%A node.scale%", "true0.5"),
        ("%A node.none%", "%A node.none%"),
        ("%A node.wire%", "%A node.wire%"),
        ("%gone.seed%", "%gone.seed%"),
        ("%width%x%height%", "%width%x%height%"),  # filled in when the picture is there
        ("100%", "100%"),
        ("%batch_num%", "%batch_num%"),
    ],
)
def test_placeholders(prefix, expected):
    inputs = {"seed": 7, "steps": 3.0, "text": "a/b:c", "choice": True, "scale": 0.5, "wire": ["2", 0]}
    assert filled(prefix, **inputs) == expected


def test_a_prefix_that_is_wired_is_left_alone():
    assert filled(["1", 0]) == ["1", 0]


def test_names_of_a_saved_workflow_are_used(headless_host, toys):
    sheet = toys.Sheet()
    sheet.node("PrimitiveInt", [42, "fixed"], [], ["INT"], properties={"Node name for S&R": "Counter"})
    sheet.node("SaveImage", ["run/%Counter.value%_%Second.value%"], [("images", "IMAGE")], [])
    sheet.node("PrimitiveInt", [43, "fixed"], [], ["INT"], title="Second")
    nodes = flatten(sheet.document(), describe(core_nodes()))
    assert nodes["2"]["inputs"]["filename_prefix"] == "run/42_43"


def prefixed(*prefixes):
    return {
        str(k): {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix}, "_meta": {"title": f"n{k}"}}
        for k, prefix in enumerate(prefixes)
    }


def test_a_placeholder_stands_for_what_the_widget_holds():
    """Prefixes that name each other do not grow: the page, too, fills in each once, from the others as typed."""
    again = [f"%n{k}.filename_prefix%%n{k}.filename_prefix%" for k in range(26)]
    prompt = prefixed("AA", *again)
    fill_in(prompt, {}, NOW)
    assert prompt["1"]["inputs"]["filename_prefix"] == "AAAA"
    assert prompt["2"]["inputs"]["filename_prefix"] == "%n0.filename_prefix%" * 4
    assert prompt["26"]["inputs"]["filename_prefix"] == "%n24.filename_prefix%" * 4


@pytest.mark.parametrize("prefix", ["x" * 1001, "%n0.filename_prefix%" * 20])
def test_a_prefix_has_a_greatest_length(prefix):
    with pytest.raises(WorkflowError, match=r"n1 \(#1\): its filename_prefix is longer than 1000 letters"):
        fill_in(prefixed("y" * 100, prefix), {}, NOW)


def test_many_placeholders_of_many_nodes_take_linear_time():
    prompt = prefixed(*["%n9999.filename_prefix%" * 40] * 9999, "x")
    begun = time.process_time()
    fill_in(prompt, {}, NOW)
    assert prompt["5"]["inputs"]["filename_prefix"] == "x" * 40
    assert time.process_time() - begun < 10  # half a second; a search per placeholder would be 4 billion steps
