"""Flattening: from the graph that people see to the nodes that run, with muted, bypassed, rerouted and subgraph nodes
resolved.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...models.printable import printable_logger
from ..errors import WorkflowError
from .graph import Graph, SavedNode, read_graph
from .instances import bind
from .prefixes import fill_in
from .trace import BYPASSED, Constant, Tracer, node_name
from .virtual import is_virtual
from .widgets import named_values

MUTED = 2
log = printable_logger(__name__)


def flatten(document: dict, info: dict[str, dict]) -> dict[str, dict]:
    """Turn a UI-format document into API-format nodes.

    Args:
        document: the file's content, with "nodes", "links" and perhaps "definitions".
        info: description of every node known, by class type.

    Returns:
        API-format nodes by id, as "7:12:3" inside of subgraphs.

    Raises:
        WorkflowError: a node that `info` lacks, a link without an end, wires that go round in a circle.
    """
    root = read_graph(document)
    bind(root, info)
    tracer = Tracer(info)
    prompt: dict[str, dict] = {}
    aliases: dict[str, str] = {}
    problems, isolated = [], []
    wired: dict[str, set[str]] = {}  # path of a graph -> ids of its nodes with a wire
    for graph, node in _runnable(root, info):
        if node.type not in info:
            if graph.path not in wired:
                wired[graph.path] = {end for link in graph.links.values() for end in (link.origin, link.target)}
            (problems if node.id in wired[graph.path] else isolated).append(_unknown(graph, node))
            continue
        if node.alias:
            aliases[graph.full_id(node)] = node.alias
        prompt[graph.full_id(node)] = {
            "class_type": node.type,
            "inputs": _inputs(graph, node, info[node.type], tracer),
            "_meta": {"title": node.title or info[node.type].get("display_name") or node.type},
        }
    if problems or (isolated and not prompt):
        raise WorkflowError(*problems, *isolated)
    if not prompt:
        raise WorkflowError("The workflow has no node that runs: each is a note, muted or bypassed, or there is none.")
    for problem in isolated:  # a label or a panel of some pack, most often
        log.warning("%s Nothing is wired to it, so it is left out.", problem)
    _drop_dead_wires(prompt)
    fill_in(prompt, aliases)
    return prompt


def _drop_dead_wires(prompt: dict[str, dict]) -> None:
    """Remove, in place, the inputs that come from nodes that do not run."""
    for node in prompt.values():
        node["inputs"] = {
            name: value for name, value in node["inputs"].items() if not isinstance(value, list) or value[0] in prompt
        }


def _inputs(graph: Graph, node: SavedNode, info: dict, tracer: Tracer) -> dict[str, Any]:
    """Return the API-format inputs of a node: constants, and wires as [node id, output]."""
    values = named_values(info, node.values)
    values |= {name: value for name, value in graph.overrides.get(node.id, {}).items() if name in values}
    inputs = {name: _wrapped(value) for name, value in values.items()}
    for index, socket in enumerate(node.inputs):
        source = tracer.source(graph, node, index)
        if isinstance(source, Constant):
            inputs[socket.name] = _wrapped(source.value)
        elif source is not None:
            inputs[socket.name] = [source.node, source.slot]
    return inputs


def _wrapped(value: Any) -> Any:
    return {"__value__": value} if isinstance(value, list) else value  # a bare list would read as a wire


def _runnable(graph: Graph, info: dict[str, dict]) -> Iterator[tuple[Graph, SavedNode]]:
    """Yield the nodes that run, with the graph they are in."""
    for node in graph.nodes.values():
        if node.mode in (MUTED, BYPASSED) or is_virtual(node, info):
            continue
        if node.id in graph.inner:
            yield from _runnable(graph.inner[node.id], info)
        else:
            yield graph, node


def _unknown(graph: Graph, node: SavedNode) -> str:
    name = node_name(graph, node)
    if node.type.startswith(("workflow>", "workflow/")):
        return f"{name} is a group node, an old kind of subgraph: convert it to a subgraph in ComfyUI."
    return f"{name} is of the type {node.type!r}, which is not installed here."
