"""The runner runs nodes as ComfyUI does: order, lists, lazy inputs, caching, interruption, inference mode."""

import threading

import pytest
import torch
from semantic_edit.headless import StoppedError
from semantic_edit.headless.run.runner import NodeFailure
from semantic_edit.headless.workflow.document import Prompt


def prompt(**nodes):
    """nodes: n1=("ClassType", {input: value or ["1", 0]}) becomes node "1"."""
    named = {name[1:]: {"class_type": kind, "inputs": inputs, "_meta": {}} for name, (kind, inputs) in nodes.items()}
    return Prompt(named)


def texts(result, node_id):
    return result.ui[node_id]["text"]


def test_every_node_runs_once_and_sources_first(runner):
    diamond = prompt(
        n4=("ToyShow", {"value": ["3", 0]}),
        n3=("ToyAdd", {"a": ["1", 0], "b": ["2", 0]}),
        n2=("ToyAdd", {"a": ["1", 0], "b": 10}),
        n1=("ToyAdd", {"a": 1, "b": 2}),
        n5=("ToyAdd", {"a": 5, "b": 5}),
    )
    result = runner.run(diamond)
    assert result.ran == ["1", "2", "3", "4"]  # 5 leads nowhere
    assert texts(result, "4") == ["16"]


def test_nodes_run_under_inference_mode_with_their_hidden_values(runner):
    result = runner.run(
        prompt(n1=("ToyMode", {}), n2=("ToyShow", {"value": ["1", 0]}), n3=("ToyShow", {"value": ["1", 1]}))
    )
    assert texts(result, "2") == ["True"]
    assert texts(result, "3") == ["1"]
    assert not torch.is_inference_mode_enabled()


def test_lists_map_over_nodes_and_collect(runner):
    result = runner.run(
        prompt(
            n1=("ToyNumbers", {"count": 3}),
            n2=("ToyNumbers", {"count": 2}),
            n3=("ToyAdd", {"a": ["1", 0], "b": ["2", 0]}),  # 0+0, 1+1, 2+1: the shorter list repeats its last
            n4=("ToyJoin", {"parts": ["3", 0], "glue": "-"}),
            n5=("ToyShow", {"value": ["4", 0]}),
            n6=("ToyShow", {"value": ["3", 0]}),
        )
    )
    assert result.values["3"] == [[0, 2, 3]]
    assert texts(result, "5") == ["0-2-3"]
    assert texts(result, "6") == ["0", "2", "3"]


def test_an_empty_list_is_refused_beside_others_and_harmless_alone(runner):
    alone = prompt(n1=("ToyNumbers", {"count": 0}), n2=("ToyShow", {"value": ["1", 0]}))
    assert runner.run(alone).ui == {}
    beside = prompt(
        n1=("ToyNumbers", {"count": 0}), n2=("ToyAdd", {"a": ["1", 0]}), n3=("ToyShow", {"value": ["2", 0]})
    )
    beside.nodes["2"]["inputs"]["b"] = 1
    with pytest.raises(NodeFailure, match="'a' got an empty list"):
        runner.run(beside)


def test_only_the_tail_runs_again(runner):
    def chain(by):
        return prompt(
            n1=("ToyNoise", {"seed": 3, "size": 4}),
            n2=("ToyScale", {"image": ["1", 0], "by": 2.0, "mode": "multiply"}),
            n3=("ToyScale", {"image": ["2", 0], "by": by, "mode": "multiply"}),
            n4=("PreviewImage", {"images": ["3", 0]}),
        )

    assert runner.run(chain(1.0)).ran == ["1", "2", "3", "4"]
    assert runner.run(chain(1.0)).ran == []
    assert runner.run(chain(0.5)).ran == ["3", "4"]
    again = runner.run(chain(0.5))
    assert again.ran == [] and again.ui["4"]["images"]  # what was shown is still known


def test_renumbering_nodes_does_not_run_them_again(runner):
    runner.run(prompt(n1=("ToyAdd", {"a": 1, "b": 2}), n2=("ToyShow", {"value": ["1", 0]})))
    result = runner.run(prompt(n7=("ToyAdd", {"b": 2, "a": 1}), n8=("ToyShow", {"value": ["7", 0]})))
    assert result.ran == [] and texts(result, "8") == ["3"]


def test_a_node_that_knows_its_id_runs_for_each_id(runner):
    runner.run(prompt(n1=("ToyMode", {}), n2=("ToyShow", {"value": ["1", 1]})))
    assert texts(runner.run(prompt(n5=("ToyMode", {}), n2=("ToyShow", {"value": ["5", 1]}))), "2") == ["5"]


def test_a_fingerprint_of_nan_always_runs(runner):
    graph = prompt(n1=("ToyAlways", {"a": 1}), n2=("ToyShow", {"value": ["1", 0]}))
    assert runner.run(graph).ran == ["1", "2"]
    assert runner.run(graph).ran == ["1", "2"]


def test_a_failure_keeps_what_was_done_before(runner):
    def graph(kind):
        last = ("ToyFail", {"a": ["1", 0], "kind": "input"}) if kind else ("ToyAdd", {"a": ["1", 0], "b": 0})
        return prompt(n1=("ToyAdd", {"a": 1, "b": 2}), n2=last, n3=("ToyShow", {"value": ["2", 0]}))

    with pytest.raises(NodeFailure, match=r"^ToyFail \(#2\): the number is odd, give an even one\.$"):
        runner.run(graph(True))
    assert runner.run(graph(False)).ran == ["2", "3"]


@pytest.mark.parametrize(("kind", "words"), [("bug", "ZeroDivisionError: by zero"), ("attribute", "keeps nothing")])
def test_any_failure_is_one_line_that_names_the_node(runner, kind, words):
    graph = prompt(n1=("ToyFail", {"a": 1, "kind": kind}), n2=("ToyShow", {"value": ["1", 0]}))
    graph.nodes["1"]["_meta"]["title"] = "My node"
    with pytest.raises(NodeFailure, match=words) as caught:
        runner.run(graph)
    assert str(caught.value).startswith("My node (#1): ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("choose", "ran"), [(True, ["1", "3", "4"]), (False, ["2", "3", "4"])])
def test_a_lazy_input_runs_only_when_asked_for(runner, choose, ran):
    graph = prompt(
        n1=("ToyAdd", {"a": 1, "b": 0}),
        n2=("ToyAdd", {"a": 2, "b": 0}),
        n3=("ToySwitch", {"choose": choose, "on_true": ["1", 0], "on_false": ["2", 0]}),
        n4=("ToyShow", {"value": ["3", 0]}),
    )
    result = runner.run(graph)
    assert result.ran == ran
    assert texts(result, "4") == ["1" if choose else "2"]


def test_a_blocked_output_stops_what_needs_it(runner):
    quiet = prompt(n1=("ToyGate", {"a": 1, "reason": ""}), n2=("ToyShow", {"value": ["1", 0]}))
    assert "2" not in runner.run(quiet).ui
    loud = prompt(n1=("ToyGate", {"a": 1, "reason": "closed today"}), n2=("ToyShow", {"value": ["1", 0]}))
    with pytest.raises(NodeFailure, match="closed today"):
        runner.run(loud)


def test_interrupting_stops_at_the_next_step_and_keeps_nothing_of_the_node(runner):
    graph = prompt(n1=("ToySteps", {"steps": 10**9}), n2=("ToyShow", {"value": ["1", 0]}))
    threading.Timer(0.2, runner.host.interrupt).start()
    with pytest.raises(StoppedError):
        runner.run(graph)
    assert not torch.is_inference_mode_enabled()
    runner.host.resume()
    graph.nodes["1"]["inputs"]["steps"] = 3
    assert runner.run(graph).ran == ["1", "2"]


def test_long_chains_need_no_recursion(runner):
    nodes = {"n0": ("ToyAdd", {"a": 0, "b": 1})}
    nodes |= {f"n{i}": ("ToyAdd", {"a": [str(i - 1), 0], "b": 1}) for i in range(1, 1500)}
    result = runner.run(prompt(**nodes, nend=("ToyShow", {"value": ["1499", 0]})))
    assert texts(result, "end") == ["1500"]


def test_the_callback_names_each_node_before_it_runs(runner):
    names = []
    runner.run(prompt(n1=("ToyAdd", {"a": 1, "b": 1}), n2=("ToyShow", {"value": ["1", 0]})), before=names.append)
    assert names == ["1", "2"]
