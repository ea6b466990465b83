"""Widgets that came later: what workflows saved before them show, and what new nodes begin with."""

from __future__ import annotations

import json
from pathlib import Path

SWEEP = Path(__file__).resolve().parents[2] / "workflows" / "imagic_eta_sweep.json"
NOISE = """() => app.graph._nodes.filter((node) => node.type === "SemanticEditSweepEta")
  .map((node) => node.widgets.find((widget) => widget.name === "noise").value)"""

NOISE_INSIDE = """() => app.graph._nodes.flatMap((node) => node.subgraph?.nodes ?? [])
  .filter((node) => node.type === "SemanticEditSweepEta")
  .map((node) => node.widgets.find((widget) => widget.name === "noise").value)"""


def test_a_saved_workflow_keeps_what_it_did(desk):
    desk.problems.clear()
    document = json.loads(SWEEP.read_text(encoding="utf-8"))
    desk.show(document, "today")
    assert desk.page.evaluate(NOISE) == ["the photo's own"]
    node = next(node for node in document["nodes"] if node["type"] == "SemanticEditSweepEta")
    assert node["widgets_values"].pop() == "the photo's own"
    node["inputs"] = [socket for socket in node["inputs"] if socket["name"] != "noise"]
    desk.show(document, "before")
    assert desk.page.evaluate(NOISE) == ["random"]
    desk.show(desk.saved(), "saved again")
    assert desk.page.evaluate(NOISE) == ["random"]
    new = "() => { const node = LiteGraph.createNode('SemanticEditSweepEta'); app.graph.add(node); }"
    desk.page.evaluate(new)
    assert desk.page.evaluate(NOISE) == ["random", "the photo's own"]
    assert not desk.problems


def test_nor_does_a_saved_subgraph_change(desk):
    desk.problems.clear()
    desk.show(json.loads(SWEEP.read_text(encoding="utf-8")), "grouped")
    desk.page.evaluate(
        """() => { const node = app.graph._nodes.find((node) => node.type === "SemanticEditSweepEta");
          app.graph.convertToSubgraph(new Set([node])); }"""
    )
    document = desk.saved()
    assert desk.page.evaluate(NOISE_INSIDE) == ["the photo's own"]
    inner = next(
        node
        for subgraph in document["definitions"]["subgraphs"]
        for node in subgraph["nodes"]
        if node["type"] == "SemanticEditSweepEta"
    )
    assert inner["widgets_values"].pop() == "the photo's own"
    inner["inputs"] = [socket for socket in inner["inputs"] if socket["name"] != "noise"]
    desk.show(document, "grouped before")
    assert desk.page.evaluate(NOISE_INSIDE) == ["random"]
    desk.show(desk.saved(), "grouped again")
    assert desk.page.evaluate(NOISE_INSIDE) == ["random"]
    assert not desk.problems
