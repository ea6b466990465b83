"""What the client of a running server queues: names mended by the server's own lists, page-only nodes resolved."""

import pytest
from PIL import Image
from semantic_edit.headless.run.catalog import core_nodes, describe
from semantic_edit.offline import server


@pytest.fixture
def queued(monkeypatch, headless_host, toys):
    """Queue a workflow on a server that knows the core nodes, without one; returns the prompt that would be sent."""
    info = describe({**core_nodes(), **toys.TOYS})
    info["Load"] = {
        "input": {"required": {"file": [["faces/mine.safetensors"], {}]}}, "output": ["IMAGE"], "output_node": False,
    }  # fmt: skip
    sent = {}

    def queue(self, prompt):
        sent.update(prompt.nodes)
        return "id"

    monkeypatch.setattr(server.Server, "get", lambda self, path: info)
    monkeypatch.setattr(server.Server, "queue", queue)
    monkeypatch.setattr(server.Server, "wait", lambda self, prompt_id: {"outputs": {}})
    monkeypatch.setattr(server.Server, "_upload", lambda self, path: f"uploaded {path.name}")

    def run(document, assignments=()):
        folder, output = headless_host.settings.input, headless_host.settings.output
        assert server.run_on_server("http://here", document, list(assignments), folder, output, print) == []
        return {node_id: node["inputs"] for node_id, node in sent.items()}

    return run


@pytest.mark.parametrize("by_hand", [False, True])
def test_windows_separators_are_those_of_the_server(queued, by_hand):
    nodes = {"1": {"class_type": "Load", "inputs": {"file": "?" if by_hand else "faces\\mine.safetensors"}}}
    assignments = ["1.file=faces\\mine.safetensors"] if by_hand else []
    assert queued(nodes, assignments)["1"] == {"file": "faces/mine.safetensors"}


@pytest.mark.parametrize("name", ["folder\\a.png", "folder/a.png"])
def test_a_picture_in_a_folder_is_uploaded(queued, headless_host, name):
    (headless_host.settings.input / "folder").mkdir()
    Image.new("RGB", (4, 4)).save(headless_host.settings.input / "folder" / "a.png")
    assert queued({"1": {"class_type": "LoadImage", "inputs": {"image": name}}})["1"] == {"image": "uploaded a.png"}


@pytest.mark.parametrize("name", ["\ud800.png", "a\0.png", "x" * 400, "../a.png"])
def test_a_name_that_no_file_can_have_is_left_to_the_server(queued, name):
    assert queued({"1": {"class_type": "LoadImage", "inputs": {"image": name}}})["1"] == {"image": name}


def test_set_and_get_nodes_and_instances_are_resolved(queued, toys):
    inner = toys.Sheet()
    add = inner.node("ToyAdd", [1, 2], [("a", "INT", "widget"), ("b", "INT", "widget")], ["INT"])
    inner.wire(-10, 0, add, 0, as_dict=True)
    inner.wire(-10, 1, add, 1, as_dict=True)
    inner.wire(add, 0, -20, 0, as_dict=True)
    sheet = toys.Sheet()
    sheet.definitions.append(inner.definition("group", ["a", "b"], ["sum"]))
    group = sheet.node("group", [7, 8], [], ["INT"])
    setter = sheet.node("SetNode", ["sum"], [("INT", "INT")], ["*"])
    getter = sheet.node("GetNode", ["sum"], [], ["INT"])
    show = sheet.node("ToyShow", [], [("value", "*")], [])
    sheet.wire(group, 0, setter, 0)
    sheet.wire(getter, 0, show, 0)
    assert queued(sheet.document()) == {"1:1": {"a": 7, "b": 8}, "4": {"value": ["1:1", 0]}}
