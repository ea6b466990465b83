"""Widgets that came later: what workflows saved before them show, and what new nodes begin with."""

from __future__ import annotations

import json
from pathlib import Path

SWEEP = Path(__file__).resolve().parents[2] / "workflows" / "imagic_eta_sweep.json"
# Of every Sweep Eta, on the sheet or in a subgraph of it.
NOISE = """() => app.graph._nodes.flatMap((node) => node.subgraph?.nodes ?? [node])
  .filter((node) => node.type === "SemanticEditSweepEta")
  .map((node) => node.widgets.find((widget) => widget.name === "noise").value)"""


def as_saved_before(nodes):
    """Take the later widget out of the Sweep Eta among the nodes of a document."""
    node = next(node for node in nodes if node["type"] == "SemanticEditSweepEta")
    assert node["widgets_values"].pop() == "the photo's own"
    node["inputs"] = [socket for socket in node["inputs"] if socket["name"] != "noise"]


def test_a_saved_workflow_keeps_what_it_did(desk):
    desk.problems.clear()
    document = json.loads(SWEEP.read_text(encoding="utf-8"))
    desk.show(document, "today")
    assert desk.page.evaluate(NOISE) == ["the photo's own"]
    as_saved_before(document["nodes"])
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
    assert desk.page.evaluate(NOISE) == ["the photo's own"]
    as_saved_before([node for subgraph in document["definitions"]["subgraphs"] for node in subgraph["nodes"]])
    desk.show(document, "grouped before")
    assert desk.page.evaluate(NOISE) == ["random"]
    desk.show(desk.saved(), "grouped again")
    assert desk.page.evaluate(NOISE) == ["random"]
    assert not desk.problems
