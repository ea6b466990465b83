"""Flattening: from the graph that people see to the nodes that run, with muted, bypassed, rerouted and subgraph nodes
resolved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..errors import WorkflowError
from .graph import Graph, Link, SavedNode, read_graph
from .prefixes import fill_in
from .widgets import named_values

MUTED, BYPASSED = 2, 4
NOTES = {"Note", "MarkdownNote"}
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"


class Wire(NamedTuple):
    """The source of an input's value: another node's output."""

    node: str
    slot: int


class Constant(NamedTuple):
    """The source of an input's value: a primitive node, or a widget on a subgraph instance."""

    value: Any


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
    prompt: dict[str, dict] = {}
    aliases: dict[str, str] = {}
    problems = []
    for graph, node in _runnable(read_graph(document)):
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
    _drop_dead_wires(prompt)
    fill_in(prompt, aliases)
    return prompt


def _drop_dead_wires(prompt: dict[str, dict]) -> None:
    """Remove, in place, the inputs that come from nodes that do not run."""
    for node in prompt.values():
        node["inputs"] = {
            name: value for name, value in node["inputs"].items() if not isinstance(value, list) or value[0] in prompt
        }


def _inputs(graph: Graph, node: SavedNode, info: dict) -> dict[str, Any]:
    """Return the API-format inputs of a node: constants, and wires as [node id, output]."""
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


@dataclass(frozen=True)
class _Cursor:
    """A socket on the way upstream."""

    graph: Graph
    node: SavedNode
    slot: int
    is_output: bool
    type: str | None  # that the value must have, as the last input on the way declares

    @property
    def key(self) -> tuple[str, str, bool, int]:
        return self.graph.path, self.node.id, self.is_output, self.slot


def _source(graph: Graph, node: SavedNode, slot: int) -> Wire | Constant | None:
    """Follow an input's wire upstream to the output or constant of its value; None when nothing is wired there."""
    label = f"input {node.inputs[slot].name!r} of {_name(graph, node)}"
    cursor: _Cursor | Wire | Constant | None = _Cursor(graph, node, slot, False, None)
    visited = set()
    while isinstance(cursor, _Cursor):
        if cursor.key in visited:
            raise WorkflowError(f"The wires at {label} go round in a circle.")
        visited.add(cursor.key)
        cursor = _behind_output(cursor, label) if cursor.is_output else _behind_input(cursor, label)
    return cursor


def _behind_input(cursor: _Cursor, label: str) -> _Cursor | Constant | None:
    """Step over the link of an input."""
    socket = cursor.node.inputs[cursor.slot]
    if socket.link is None:
        return None
    if socket.link not in cursor.graph.links:
        raise WorkflowError(f"The link {socket.link} at {label} is not in the file: save the workflow again.")
    return _link_origin(cursor.graph, cursor.graph.links[socket.link], cursor.type or socket.type, label)


def _behind_output(cursor: _Cursor, label: str) -> _Cursor | Wire | Constant | None:
    """Step through a node that only hands on, or end at one that makes a value."""
    graph, node, slot = cursor.graph, cursor.node, cursor.slot
    if node.mode == BYPASSED:
        entry = _bypass(node, slot, cursor.type)
        return None if entry is None else _Cursor(graph, node, entry, False, None)
    if node.id in graph.inner:
        inner = graph.inner[node.id]
        link = _exit_link(inner, slot)
        return None if link is None else _link_origin(inner, link, cursor.type, label)
    if node.type == REROUTE:
        entry = slot if slot < len(node.inputs) else 0
        return replace(cursor, slot=entry, is_output=False) if node.inputs else None
    if node.type == PRIMITIVE:
        return Constant(node.values[0]) if isinstance(node.values, list) and node.values else None
    return Wire(graph.full_id(node), slot)


def _link_origin(graph: Graph, link: Link, type: str | None, label: str) -> _Cursor | Constant | None:
    """Return the start of a link: the output of a node in this graph, or what feeds the subgraph's frame."""
    if graph.parent is not None and link.origin == str(graph.definition.get("inputNode", {}).get("id", -10)):
        return _behind_frame(graph, link.origin_slot)
    if link.origin not in graph.nodes:
        raise WorkflowError(f"The wire at {label} starts at node #{link.origin}, which is not in the file.")
    return _Cursor(graph, graph.nodes[link.origin], link.origin_slot, True, type)


def _behind_frame(graph: Graph, slot: int) -> _Cursor | Constant | None:
    """Step out of a subgraph: to the input of its instance, or to the value of a widget on it."""
    instance, name = graph.instance, _frame_name(graph, slot)
    entry = _entry(instance, name, slot)
    if entry is None or instance.inputs[entry].link is None:
        return _promoted(instance, instance.inputs[entry].name if name is None and entry is not None else name)
    return _Cursor(graph.parent, instance, entry, False, None)


def _frame_name(graph: Graph, slot: int) -> str | None:
    """Return the name of the input at `slot` of a subgraph's frame."""
    declared = graph.definition.get("inputs") or []
    name = declared[slot].get("name") if slot < len(declared) else None
    return name if isinstance(name, str) else None


def _entry(instance: SavedNode, name: str | None, slot: int) -> int | None:
    """Return the index of the instance's input that feeds the frame's: that of the same name.

    None when the instance has none: files leave out inputs that are widgets and have no wire.
    """
    for index, socket in enumerate(instance.inputs):
        if socket.name == name:
            return index
    return slot if name is None and slot < len(instance.inputs) else None


def _exit_link(graph: Graph, slot: int) -> Link | None:
    """Return the link that feeds output `slot` of a subgraph."""
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


def _bypass(node: SavedNode, slot: int, type: str | None) -> int | None:
    """Return the input that a bypassed node hands through to `slot`: the one of that place, else of that type."""
    types = [socket.type for socket in node.inputs]
    if type in ("*", "", None):
        return (slot if slot < len(types) else 0) if types else None
    offered = node.outputs[slot] if slot < len(node.outputs) else "*"
    fits = [_compatible(kind, offered) and _compatible(kind, type) for kind in types]
    if slot < len(types) and fits[slot]:
        return slot
    return types.index(type) if type in types else next((i for i, fit in enumerate(fits) if fit), None)


def _compatible(first: str, second: str) -> bool:
    """Return True when two types share one; "*" fits all."""
    if first in ("*", "") or second in ("*", ""):
        return True
    return bool(set(first.lower().split(",")) & set(second.lower().split(",")))


def _runnable(graph: Graph) -> Iterator[tuple[Graph, SavedNode]]:
    """Yield the nodes that run, with the graph they are in."""
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
