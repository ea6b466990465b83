"""Whatever is wrong with a workflow is a sentence before any node runs."""

import pytest
from semantic_edit.headless.errors import WorkflowError
from semantic_edit.headless.workflow.document import Prompt


def graph(first, inputs, **others):
    nodes = {
        "1": {"class_type": first, "inputs": inputs, "_meta": {}},
        "2": {"class_type": "ToyNumbers", "inputs": {"count": 2}, "_meta": {}},
        "3": {"class_type": "ToyNoise", "inputs": {"seed": 1, "size": 4}, "_meta": {"title": "The noise"}},
        "9": {"class_type": "ToyShow", "inputs": {"value": ["1", 0]}, "_meta": {}},
    }
    return Prompt({**nodes, **others})


MISTAKES = {
    "unknown type": ("Nothing", {}, r"#1\) is of the type 'Nothing', which is not installed"),
    "missing wire": ("ToyScale", {"by": 1.0, "mode": "divide"}, "the required input 'image' is not connected"),
    "missing value": ("ToyAdd", {"a": 1}, "the required input 'b'"),
    "dangling wire": ("ToyAdd", {"a": ["77", 0], "b": 1}, "'a' starts at #77, which is missing"),
    "crooked wire": ("ToyAdd", {"a": ["2"], "b": 1}, "not a wire"),
    "text slot": ("ToyAdd", {"a": ["2", "0"], "b": 1}, "not a wire"),
    "true slot": ("ToyAdd", {"a": ["2", True], "b": 1}, "not a wire"),
    "no such output": ("ToyAdd", {"a": ["2", 1], "b": 1}, "output 1 .* which has 1"),
    "negative output": ("ToyAdd", {"a": ["2", -1], "b": 1}, "output -1"),
    "wrong type": ("ToyAdd", {"a": ["3", 0], "b": 1}, r"'a' takes INT, but is wired to IMAGE of The noise \(#3\)"),
    "wrong of several types": ("ToyJoin", {"parts": ["3", 0], "glue": ","}, "takes INT,STRING, but"),
    "no such input": ("ToyAdd", {"a": 1, "b": 1, "c": ["2", 0]}, "it has no input 'c'; it takes a, b"),
    "a value for a wire": ("ToyScale", {"image": "x", "by": 1, "mode": "divide"}, "needs a wire of the type IMAGE"),
    "no number": ("ToyAdd", {"a": "many", "b": 1}, "'a' takes INT, not 'many'"),
    "null": ("ToyAdd", {"a": None, "b": 1}, "'a' takes INT, not 'None'"),
    "too small": ("ToyNoise", {"seed": 0, "size": 0}, "'size' is 0, but must be at least 1"),
    "too big": ("ToyNoise", {"seed": 0, "size": 65}, "'size' is 65, but must be at most 64"),
    "not finite": ("ToyScale", {"image": ["3", 0], "by": float("nan"), "mode": "divide"}, "finite"),
    "no choice": ("ToyScale", {"image": ["3", 0], "by": 1.0, "mode": "add"}, "'add', .* choices: 'multiply', 'divide'"),
    "refused by the node": ("ToyEven", {"a": 3, "b": 0}, "must be even, not 3"),
    "still checked beside": ("ToyEven", {"a": 12, "b": 11}, "'b' is 11, but must be at most 10"),
    "itself": ("ToyAdd", {"a": ["1", 0], "b": 1}, "circle"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_a_sentence_before_any_work(runner, name):
    kind, inputs, words = MISTAKES[name]
    ran = []
    with pytest.raises(WorkflowError, match=words) as caught:
        runner.run(graph(kind, inputs), before=ran.append)
    assert ran == []
    assert all(problem.endswith(".") and "\n" not in problem for problem in caught.value.problems)


def test_every_mistake_is_named(runner):
    with pytest.raises(WorkflowError) as caught:
        runner.run(graph("ToyScale", {"image": ["2", 0], "by": 9.0, "mode": "x"}))
    assert len(caught.value.problems) == 3


def test_a_longer_circle_is_found(runner):
    far = {"class_type": "ToyAdd", "inputs": {"a": ["1", 0], "b": 1}, "_meta": {}}
    with pytest.raises(WorkflowError, match="circle"):
        runner.run(graph("ToyAdd", {"a": ["5", 0], "b": 1}, **{"5": far}))


def test_a_workflow_needs_an_output(runner):
    with pytest.raises(WorkflowError, match="no output"):
        runner.run(Prompt({"1": {"class_type": "ToyAdd", "inputs": {"a": 1, "b": 1}}}))


def test_values_take_their_inputs_type(runner):
    result = runner.run(graph("ToyAdd", {"a": "3", "b": 4.0}))
    assert result.values["1"] == [[7]]


def test_a_list_as_value_travels_wrapped(runner):
    wrapped = {"class_type": "PreviewAny", "inputs": {"source": {"__value__": [1, 2]}}}
    result = runner.run(graph("ToyAdd", {"a": 1, "b": 1}, **{"9": wrapped}))
    assert result.ui["9"]["text"] == ["[1, 2]"]


def test_values_of_older_versions_are_ignored(runner, caplog):
    assert runner.run(graph("ToyAdd", {"a": 1, "b": 1, "gone": 5})).values["1"] == [[2]]
    assert "'gone' is ignored" in caplog.text


def test_a_node_takes_over_the_range_it_checks(runner):
    assert runner.run(graph("ToyEven", {"a": 12, "b": 0})).values["1"] == [[12]]


def test_wires_into_a_node_that_checks_itself_arrive_as_nothing(runner):
    assert runner.run(graph("ToyEven", {"a": ["2", 0], "b": 0})).values["1"] == [[0, 1]]
