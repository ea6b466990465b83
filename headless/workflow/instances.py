"""Subgraph instances: the wire or the value that feeds each input of a subgraph's frame.

The page of 2026 shows on an instance one widget for each input of the definition that leads to a widget inside. It
writes their values by the position among those inputs of the DEFINITION: an instance's own list of inputs lacks the
ones that are widgets, have no wire and were not renamed on it. Older pages listed the widgets in `proxyWidgets`, and
wrote the values in that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .graph import Graph, SavedNode
from .widgets import has_widget, input_specs, is_controlled

__all__ = ["bind"]


class _Widget(NamedTuple):
    """The widget inside of a subgraph that an input of its frame leads to."""

    name: str
    is_controlled: bool  # a "control after generate" follows it


def bind(graph: Graph, info: dict[str, dict]) -> None:
    """Find what feeds the frame of every subgraph instance in a graph, in place.

    Args:
        graph: as `read_graph` returns it; `entries` and `values` of the graphs within are filled.
        info: description of every node known, by class type.
    """
    specs = _Specs(info)
    inner = list(_inner_graphs(graph))
    widgets: dict[str, dict[int, _Widget]] = {}  # path of a graph -> slot of its frame -> the widget
    for each in reversed(inner):  # the innermost first: whether an input is a widget is decided there
        widgets[each.path] = _frame_widgets(each, widgets, specs)
        each.entries = _entries(each)
    for each in inner:
        each.values = _values(each, widgets[each.path])


def _inner_graphs(graph: Graph) -> Iterator[Graph]:
    """Yield the graphs of all subgraph instances, each behind the one around it."""
    stack = list(graph.inner.values())
    while stack:
        inner = stack.pop()
        yield inner
        stack += inner.inner.values()


class _Specs:
    """The inputs of node types, read once each."""

    def __init__(self, info: dict[str, dict]) -> None:
        self._info = info
        self._by_type: dict[str, dict[str, tuple[Any, dict]]] = {}

    def of(self, node_type: str, name: str) -> tuple[Any, dict] | None:
        """Return (type, options) of a node's input; None when it is not known."""
        if node_type not in self._by_type:
            specs = input_specs(self._info.get(node_type, {}))
            self._by_type[node_type] = {name: (kind, options) for name, _, kind, options in specs}
        return self._by_type[node_type].get(name)


def _frame_widgets(graph: Graph, widgets: dict[str, dict[int, _Widget]], specs: _Specs) -> dict[int, _Widget]:
    """Return the inputs of a frame that lead to a widget, by their slot, ascending."""
    frame = graph.input_frame
    sockets = {
        (node.id, socket.link): socket
        for node in graph.nodes.values()
        for socket in node.inputs
        if socket.link is not None
    }
    slots: dict[int, _Widget] = {}
    for link_id, link in graph.links.items():
        socket = sockets.get((link.target, link_id)) if link.origin == frame else None
        if socket is None or link.origin_slot in slots:
            continue
        node = graph.nodes[link.target]
        if node.id in graph.inner:
            nested = graph.inner[node.id]
            inside = widgets[nested.path]
            slot = next((slot for slot in inside if frame_name(nested, slot) == socket.name), None)
            widget = None if slot is None else inside[slot]
        else:
            spec = specs.of(node.type, socket.name)
            shows = socket.widget or (spec is not None and has_widget(*spec))
            widget = _Widget(socket.name, spec is not None and is_controlled(socket.name, *spec)) if shows else None
        if widget is not None:
            slots[link.origin_slot] = widget
    return dict(sorted(slots.items()))


def frame_name(graph: Graph, slot: int) -> str | None:
    """Return the name of the input at `slot` of a subgraph's frame."""
    declared = graph.definition.get("inputs") or []
    name = declared[slot].get("name") if slot < len(declared) else None
    return name if isinstance(name, str) else None


def _entries(graph: Graph) -> dict[int, int]:
    """Match the inputs of an instance with those of its definition: by name and type, else by name, each once."""
    by_type: dict[tuple[str, str], list[int]] = {}
    by_name: dict[str, list[int]] = {}
    declared = graph.definition.get("inputs") or []
    for slot, saved in reversed(list(enumerate(declared))):  # reversed: the lists give their last first
        by_type.setdefault((str(saved.get("name")), str(saved.get("type"))), []).append(slot)
        by_name.setdefault(str(saved.get("name")), []).append(slot)
    entries: dict[int, int] = {}
    for index, socket in enumerate(graph.instance.inputs):
        for slots in (by_type.get((socket.name, socket.type), []), by_name.get(socket.name, [])):
            while slots and slots[-1] in entries:
                slots.pop()
            if slots:
                entries[slots.pop()] = index
                break
    if not declared:  # files of the first versions describe no frame: its inputs are the instance's
        entries = {index: index for index in range(len(graph.instance.inputs))}
    return entries


def _values(graph: Graph, widgets: dict[int, _Widget]) -> dict[int, Any]:
    """Return the values that an instance sets, by the slot of the frame."""
    instance = graph.instance
    slot_of = {frame_name(graph, slot): slot for slot in sorted(widgets, reverse=True)}
    inside = {widget.name: slot for slot, widget in reversed(widgets.items())}
    values = {slot: instance.named.get(name) for name, slot in slot_of.items()}
    values |= _listed_values(graph, instance, widgets)
    for name, value in graph.parent.overrides.get(instance.id, {}).items():  # set on the instance around this one
        values[slot_of.get(name, inside.get(name))] = value
    values |= {slot: instance.quarantine[name] for name, slot in slot_of.items() if name in instance.quarantine}
    return {slot: value for slot, value in values.items() if value is not None and slot is not None}


def _listed_values(graph: Graph, instance: SavedNode, widgets: dict[int, _Widget]) -> dict[int, Any]:
    """Return the values of an instance's own list, by the slot of the frame."""
    saved = instance.values if isinstance(instance.values, list) else []
    if instance.proxies:
        slots = {frame_name(graph, slot): slot for slot in range(len(graph.definition.get("inputs") or []))}
        pairs = zip(instance.proxies, saved, strict=False)
        shown = {name: value for (node_id, name, *_), value in pairs if str(node_id) == "-1" and value is not None}
        return {slots[name]: value for name, value in shown.items() if name in slots}
    order = list(widgets)
    if len(saved) < len(order):  # an input that the instance shows as a plain one has no value in the list
        order = [slot for slot in order if not _is_plain(graph, instance, slot)]
    has_controls = len(saved) > len(order)  # some writers list what happens to a seed after the run, too
    values, index = {}, 0
    for slot in order:
        if index >= len(saved):
            break
        if saved[index] is not None:
            values[slot] = saved[index]
        index += 2 if has_controls and widgets[slot].is_controlled else 1
    return values


def _is_plain(graph: Graph, instance: SavedNode, slot: int) -> bool:
    """Return True when an instance lists the input of a slot without a widget."""
    return slot in graph.entries and not instance.inputs[graph.entries[slot]].widget
