"""Tracing of wires: from an input upstream to the output or the constant that its value comes from.

On the way lie nodes that only hand on: bypassed ones, reroutes and other virtual nodes, and the frames of subgraphs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ...models.printable import printable_logger
from ..errors import WorkflowError
from .graph import Graph, Link, SavedNode
from .virtual import PRIMITIVE, REROUTE, find_setter, is_getter, is_virtual

__all__ = ["BYPASSED", "Constant", "Tracer", "Wire", "node_name"]

BYPASSED = 4
log = printable_logger(__name__)


class Wire(NamedTuple):
    """The source of an input's value: another node's output."""

    node: str
    slot: int


class Constant(NamedTuple):
    """The source of an input's value: a primitive node, or a widget on a subgraph instance."""

    value: Any


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


class Tracer:
    """Traces the wires of one document; what lies behind a socket is found once, however many wires pass it."""

    def __init__(self, info: dict[str, dict]) -> None:
        self._info = info
        self._sources: dict[tuple, Wire | Constant | None] = {}  # by the cursor's key and type

    def source(self, graph: Graph, node: SavedNode, slot: int) -> Wire | Constant | None:
        """Return the source of an input's value; None when nothing is wired there.

        Raises:
            WorkflowError: a wire without a start, or wires that go round in a circle.
        """
        label = f"input {node.inputs[slot].name!r} of {node_name(graph, node)}"
        cursor: _Cursor | Wire | Constant | None = _Cursor(graph, node, slot, False, None)
        passed: dict[tuple, tuple] = {}
        while isinstance(cursor, _Cursor):
            key = (cursor.key, cursor.type)
            if key in self._sources:
                cursor = self._sources[key]
                break
            if cursor.key in passed:
                raise WorkflowError(f"The wires at {label} go round in a circle.")
            passed[cursor.key] = key
            cursor = self._behind_output(cursor, label) if cursor.is_output else _behind_input(cursor, label)
        self._sources.update(dict.fromkeys(passed.values(), cursor))
        return cursor

    def _behind_output(self, cursor: _Cursor, label: str) -> _Cursor | Wire | Constant | None:
        """Step through a node that only hands on, or end at one that makes a value."""
        graph, node, slot = cursor.graph, cursor.node, cursor.slot
        if node.mode == BYPASSED:
            entry = _bypass(node, slot, cursor.type)
            return None if entry is None else _Cursor(graph, node, entry, False, None)
        if node.id in graph.inner:
            inner = graph.inner[node.id]
            link = _exit_link(inner, slot)
            return None if link is None else _link_origin(inner, link, cursor.type, label)
        if not is_virtual(node, self._info):
            return Wire(graph.full_id(node), slot)
        if node.type == PRIMITIVE:
            return Constant(node.values[0]) if isinstance(node.values, list) and node.values else None
        if is_getter(node):
            return _behind_getter(cursor)
        entry = slot if slot < len(node.inputs) or node.type != REROUTE else 0
        return replace(cursor, slot=entry, is_output=False) if entry < len(node.inputs) else None


def _behind_getter(cursor: _Cursor) -> _Cursor | None:
    """Step from a Get node to the input of its Set node."""
    setter = find_setter(cursor.graph, cursor.node)
    if setter is None:
        log.warning("%s: no Set node sets its name, so it gives nothing.", node_name(cursor.graph, cursor.node))
        return None
    graph, node = setter
    return _Cursor(graph, node, cursor.slot, False, cursor.type) if cursor.slot < len(node.inputs) else None


def _behind_input(cursor: _Cursor, label: str) -> _Cursor | Constant | None:
    """Step over the link of an input."""
    socket = cursor.node.inputs[cursor.slot]
    if socket.link is None:
        return None
    if socket.link not in cursor.graph.links:
        raise WorkflowError(f"The link {socket.link} at {label} is not in the file: save the workflow again.")
    return _link_origin(cursor.graph, cursor.graph.links[socket.link], cursor.type or socket.type, label)


def _link_origin(graph: Graph, link: Link, type: str | None, label: str) -> _Cursor | Constant | None:
    """Return the start of a link: the output of a node in this graph, or what feeds the subgraph's frame."""
    if graph.parent is not None and link.origin == graph.input_frame:
        return _behind_frame(graph, link.origin_slot)
    if link.origin not in graph.nodes:
        raise WorkflowError(f"The wire at {label} starts at node #{link.origin}, which is not in the file.")
    return _Cursor(graph, graph.nodes[link.origin], link.origin_slot, True, type)


def _behind_frame(graph: Graph, slot: int) -> _Cursor | Constant | None:
    """Step out of a subgraph: to the input of its instance, or to the value of a widget on it."""
    entry = graph.entries.get(slot)
    if entry is not None and graph.instance.inputs[entry].link is not None:
        return _Cursor(graph.parent, graph.instance, entry, False, None)
    return Constant(graph.values[slot]) if slot in graph.values else None


def _exit_link(graph: Graph, slot: int) -> Link | None:
    """Return the link that feeds output `slot` of a subgraph."""
    if graph.exits is None:
        graph.exits = {}
        for link in graph.links.values():
            if link.target == graph.output_frame:
                graph.exits.setdefault(link.target_slot, link)
    return graph.exits.get(slot)


def _bypass(node: SavedNode, slot: int, type: str | None) -> int | None:
    """Return the input that a bypassed node hands through to `slot`: the one of that place, else of that type."""
    types = [socket.type for socket in node.inputs]
    if type in ("*", "", None):
        return (slot if slot < len(types) else 0) if types else None
    offered = node.outputs[slot] if slot < len(node.outputs) else "*"

    def fits(kind: str) -> bool:
        return _compatible(kind, offered) and _compatible(kind, type)

    if slot < len(types) and fits(types[slot]):
        return slot
    return types.index(type) if type in types else next((i for i, kind in enumerate(types) if fits(kind)), None)


def _compatible(first: str, second: str) -> bool:
    """Return True when two types share one; "*" fits all."""
    if first in ("*", "") or second in ("*", ""):
        return True
    return bool(set(first.lower().split(",")) & set(second.lower().split(",")))


def node_name(graph: Graph, node: SavedNode) -> str:
    """Return a saved node's title with its id, as sentences name it."""
    return f"{node.title or node.type} (#{graph.full_id(node)})"
