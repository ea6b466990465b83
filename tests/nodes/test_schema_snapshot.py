"""No node id, input, output or choice changes by accident: people have workflows that name them."""

from __future__ import annotations

import json

from semantic_edit.headless.commands.snapshot import SNAPSHOT, as_text, node_schemas
from semantic_edit.nodes import node_classes

REMEDY = "If this is meant, run `python -m semantic_edit.headless.commands.snapshot`, and say it in CHANGELOG.md."
BREAKS = f"This breaks workflows that people have saved (CONTRIBUTING.md tells the rules): {{}}. {REMEDY}"


def now() -> dict:
    return json.loads(as_text(node_schemas(node_classes())))


def test_what_saved_workflows_name_is_still_there():
    before, after = json.loads(SNAPSHOT.read_text(encoding="utf-8")), now()
    lost = []
    for node_id, old in before.items():
        if node_id not in after:
            lost.append(f"{node_id} is gone")
            continue
        lost += losses(node_id, old, after[node_id])
    assert not lost, BREAKS.format("; ".join(lost))


def losses(node_id: str, old: dict, new: dict) -> list[str]:
    """What a workflow with the old node would miss in the new one."""
    problems = []
    inputs = {entry[0]: entry for entry in new["inputs"]}
    for name, kind, _, *choices in old["inputs"]:
        if name not in inputs or inputs[name][1] != kind:
            problems.append(f"{node_id} has no input {name} of type {kind} any more")
        elif choices and set(choices[0]) - set(*inputs[name][3:]):
            problems.append(f"{node_id}.{name} lost choices {sorted(set(choices[0]) - set(*inputs[name][3:]))}")
    were = {entry[0] for entry in old["inputs"]}
    problems += [f"{node_id} needs a new input {entry[0]}" for entry in new["inputs"] if missing(entry, were)]
    if new["outputs"][: len(old["outputs"])] != old["outputs"]:
        problems.append(f"{node_id} gives other outputs")
    return problems


def missing(entry: list, were: set[str]) -> bool:
    """A wire that must be there now and was not asked for before; widgets have defaults."""
    widgets = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
    return entry[0] not in were and entry[2] == "required" and entry[1] not in widgets


def test_the_snapshot_is_fresh():
    assert now() == json.loads(SNAPSHOT.read_text(encoding="utf-8")), f"Nodes were added or extended. {REMEDY}"


def test_losses_are_noticed():
    old = {"inputs": [["a", "INT", "required"], ["m", "COMBO", "required", ["x", "y"]]], "outputs": [["o", "IMAGE"]]}
    grown = {
        "inputs": [*old["inputs"], ["b", "FLOAT", "required"], ["c", "MASK", "optional"]],
        "outputs": old["outputs"],
    }
    assert losses("N", old, grown) == []
    for changed in (
        {"inputs": old["inputs"][1:], "outputs": old["outputs"]},
        {"inputs": [["a", "FLOAT", "required"], old["inputs"][1]], "outputs": old["outputs"]},
        {"inputs": [old["inputs"][0], ["m", "COMBO", "required", ["x"]]], "outputs": old["outputs"]},
        {"inputs": [*old["inputs"], ["w", "MASK", "required"]], "outputs": old["outputs"]},
        {"inputs": old["inputs"], "outputs": [["o", "MASK"]]},
    ):
        assert len(losses("N", old, changed)) == 1
