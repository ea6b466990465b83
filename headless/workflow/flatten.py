"""From the graph that people see to the nodes that run: muted, bypassed, rerouted and subgraph nodes resolved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import WorkflowError
from .graph import Graph, Link, SavedNode, read_graph
from .prefixes import fill_in
from .widgets import named_values

MUTED, BYPASSED = 2, 4
NOTES = {"Note", "MarkdownNote"}
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"


class Wire(NamedTuple):
    """Where an input's value comes from: another node's output."""

    node: str
    slot: int


class Constant(NamedTuple):
    """Where an input's value comes from: a primitive node, or a widget on a subgraph instance."""

    value: Any


def flatten(document: dict, info: dict[str, dict]) -> dict[str, dict]:
    """Turn a UI-format document into API-format nodes.

    Args:
        document: the file's content, with "nodes", "links" and perhaps "definitions".
        info: description of every node known, by class type.

    Raises:
        WorkflowError: a node that `info` lacks, a link without an end, wires that go round in a circle.
    """
    root = read_graph(document)
    prompt: dict[str, dict] = {}
    aliases: dict[str, str] = {}
    problems = []
    for graph, node in _runnable(root):
        if node.type not in info:
            problems.append(_unknown(graph, node))
            continue
        if node.alias:
            aliases[graph.full_id(node)] = node.alias
        prompt[graph.full_id(node)] = {
            "class_type": node.type,
            "inputs": _inputs(graph, node, info[node.type]),
            "_meta": {"title": node.title or info[node.type].get("display_name") or node.type},
        }
    if problems:
        raise WorkflowError(*problems)
    if not prompt:
        raise WorkflowError("The workflow has no node that runs: each is a note, muted or bypassed, or there is none.")
    for node in prompt.values():  # what a muted node would have sent is not sent
        node["inputs"] = {
            name: value for name, value in node["inputs"].items() if not isinstance(value, list) or value[0] in prompt
        }
    fill_in(prompt, aliases)
    return prompt


def _inputs(graph: Graph, node: SavedNode, info: dict) -> dict[str, Any]:
    values = named_values(info, node.values)
    for (node_id, name), value in graph.overrides.items():
        if node_id == node.id and name in values:
            values[name] = value
    inputs = {name: _wrapped(value) for name, value in values.items()}
    for index, socket in enumerate(node.inputs):
        source = _source(graph, node, index)
        if isinstance(source, Constant):
            inputs[socket.name] = _wrapped(source.value)
        elif source is not None:
            inputs[socket.name] = [source.node, source.slot]
    return inputs


def _wrapped(value: Any) -> Any:
    return {"__value__": value} if isinstance(value, list) else value  # a bare list would read as a wire


def _source(graph: Graph, node: SavedNode, slot: int) -> Wire | Constant | None:
    """Follow an input's wire to where its value is made; None when nothing is wired there."""
    start = f"input {node.inputs[slot].name!r} of {_name(graph, node)}"
    wanted, at_output = None, False
    seen = set()
    while True:
        here = (graph.path, node.id, at_output, slot)
        if here in seen:
            raise WorkflowError(f"The wires at {start} go round in a circle.")
        seen.add(here)
        if at_output:
            if node.mode == BYPASSED:
                slot, wanted, at_output = _bypass(node, slot, wanted), None, False
                if slot is None:
                    return None
                continue
            if node.id in graph.inner:
                graph = graph.inner[node.id]
                link = _exit_link(graph, slot)
                if link is None:
                    return None
            elif node.type == REROUTE:
                slot, at_output = (slot if slot < len(node.inputs) else 0), False
                if not node.inputs:
                    return None
                continue
            elif node.type == PRIMITIVE:
                return Constant(node.values[0]) if isinstance(node.values, list) and node.values else None
            else:
                return Wire(graph.full_id(node), slot)
        else:
            socket = node.inputs[slot]
            if socket.link is None:
                return None
            if socket.link not in graph.links:
                raise WorkflowError(f"The link {socket.link} at {start} is not in the file: save the workflow again.")
            link = graph.links[socket.link]
            wanted = wanted or socket.type
        # Now on `link`, inside `graph`: it starts at a node here, or at the frame of the subgraph.
        if graph.parent is not None and link.origin == str(graph.definition.get("inputNode", {}).get("id", -10)):
            outer, name = graph.instance, _frame_name(graph, link.origin_slot)
            entry = _entry(outer, name, link.origin_slot)
            if entry is None or outer.inputs[entry].link is None:
                return _promoted(outer, outer.inputs[entry].name if name is None and entry is not None else name)
            graph, node, slot, wanted, at_output = graph.parent, outer, entry, None, False
        elif link.origin in graph.nodes:
            node, slot, at_output = graph.nodes[link.origin], link.origin_slot, True
        else:
            raise WorkflowError(f"The wire at {start} starts at node #{link.origin}, which is not in the file.")


def _frame_name(graph: Graph, slot: int) -> str | None:
    """Return what a subgraph calls the input at `slot` of its frame."""
    declared = graph.definition.get("inputs") or []
    name = declared[slot].get("name") if slot < len(declared) else None
    return name if isinstance(name, str) else None


def _entry(instance: SavedNode, name: str | None, slot: int) -> int | None:
    """Return which input of the subgraph's instance feeds the frame's: that of the same name.

    None when the instance has none: files leave out inputs that are widgets and have no wire.
    """
    for index, socket in enumerate(instance.inputs):
        if socket.name == name:
            return index
    return slot if name is None and slot < len(instance.inputs) else None


def _exit_link(graph: Graph, slot: int) -> Link | None:
    frame = str(graph.definition.get("outputNode", {}).get("id", -20))
    return next((link for link in graph.links.values() if link.target == frame and link.target_slot == slot), None)


def _promoted(instance: SavedNode, name: str | None) -> Constant | None:
    """Return the value of a widget that a subgraph shows on its instance, if the instance has one of its own."""
    if instance.named.get(name) is not None:
        return Constant(instance.named[name])
    values = instance.values if isinstance(instance.values, list) else []
    order = [proxy[1] if str(proxy[0]) == "-1" else None for proxy in instance.proxies]
    order = order or [socket.name for socket in instance.inputs if socket.widget]
    if name in order and order.index(name) < len(values) and values[order.index(name)] is not None:
        return Constant(values[order.index(name)])
    return None


def _bypass(node: SavedNode, slot: int, wanted: str | None) -> int | None:
    """Return the input that a bypassed node hands through to `slot`: the one of that place, else of that type."""
    types = [socket.type for socket in node.inputs]
    if wanted in ("*", "", None):
        return (slot if slot < len(types) else 0) if types else None
    offered = node.outputs[slot] if slot < len(node.outputs) else "*"
    fits = [_compatible(kind, offered) and _compatible(kind, wanted) for kind in types]
    if slot < len(types) and fits[slot]:
        return slot
    return types.index(wanted) if wanted in types else next((i for i, fit in enumerate(fits) if fit), None)


def _compatible(first: str, second: str) -> bool:
    if first in ("*", "") or second in ("*", ""):
        return True
    return bool(set(first.lower().split(",")) & set(second.lower().split(",")))


def _runnable(graph: Graph) -> Iterator[tuple[Graph, SavedNode]]:
    for node in graph.nodes.values():
        if node.mode in (MUTED, BYPASSED) or node.type in NOTES or node.type in (REROUTE, PRIMITIVE):
            continue
        if node.id in graph.inner:
            yield from _runnable(graph.inner[node.id])
        else:
            yield graph, node


def _name(graph: Graph, node: SavedNode) -> str:
    return f"{node.title or node.type} (#{graph.full_id(node)})"


def _unknown(graph: Graph, node: SavedNode) -> str:
    if node.type.startswith(("workflow>", "workflow/")):
        return f"{_name(graph, node)} is a group node, an old kind of subgraph: convert it to a subgraph in ComfyUI."
    return f"{_name(graph, node)} is of the type {node.type!r}, which is not installed here."
