"""Assignments ``--set NODE.INPUT=VALUE``: changing a workflow's values from the command line."""

from __future__ import annotations

import json
from typing import Any

from ..errors import WorkflowError
from .document import Prompt
from .widgets import has_widget, input_specs


def assign(prompt: Prompt, assignments: list[str], info: dict[str, dict]) -> None:
    """Set inputs of a prompt in place.

    Args:
        prompt: the workflow.
        assignments: "NODE.INPUT=VALUE" each; NODE is an id, a title, or a node type that occurs once. VALUE is a
            number, true or false, or a text, as the input wants it.
        info: description of every node, by class type.

    Raises:
        WorkflowError: not of that form, no such node or input, or more than one.
    """
    for assignment in assignments:
        target, equals, text = assignment.partition("=")
        node_name, dot, input_name = target.rpartition(".")
        if not equals or not dot or not node_name or not input_name:
            raise WorkflowError(f"--set {assignment}: expected NODE.INPUT=VALUE, such as --set KSampler.seed=7.")
        node_id = _node_named(prompt, node_name, assignment)
        node = prompt.nodes[node_id]
        specs = {name: (kind, options) for name, _, kind, options in input_specs(info.get(node["class_type"], {}))}
        settable = [name for name, (kind, options) in specs.items() if has_widget(kind, options)]
        if input_name not in settable:
            raise WorkflowError(
                f"--set {assignment}: {prompt.title(node_id)} has no value {input_name!r} to set; "
                f"it has {', '.join(settable) or 'none'}."
            )
        kind, options = specs[input_name]
        node["inputs"][input_name] = _parse(text, options.get("widgetType") or kind, assignment)


def _node_named(prompt: Prompt, name: str, assignment: str) -> str:
    """Return the id of the node with this id, title or type."""
    if name in prompt.nodes:
        return name
    for key in (lambda node: node.get("_meta", {}).get("title"), lambda node: node["class_type"]):
        ids = [node_id for node_id, node in prompt.nodes.items() if key(node) == name]
        if len(ids) == 1:
            return ids[0]
        if ids:
            raise WorkflowError(
                f"--set {assignment}: {len(ids)} nodes are called {name!r}; name one by its id: {', '.join(ids)}."
            )
    titles = ", ".join(prompt.title(node_id) for node_id in list(prompt.nodes)[:20])
    raise WorkflowError(f"--set {assignment}: there is no node {name!r}; there are {titles}.")


def _parse(text: str, kind: Any, assignment: str) -> Any:
    """Read a typed value as the input's type."""
    if kind == "BOOLEAN":
        truths = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in truths:
            raise WorkflowError(f"--set {assignment}: expected true or false.")
        return truths[text.lower()]
    if kind in ("INT", "FLOAT"):
        try:
            return int(text, 0) if kind == "INT" else float(text)
        except ValueError:
            raise WorkflowError(f"--set {assignment}: expected {'a whole' if kind == 'INT' else 'a'} number.") from None
    if isinstance(kind, list) and text not in kind:  # choices may be numbers
        try:
            number = json.loads(text)
        except ValueError:
            return text
        return number if number in kind else text
    return text
