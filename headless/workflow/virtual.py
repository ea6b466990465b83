"""Virtual nodes: those that live in the page alone, and hand a wire on or have none.

ComfyUI's page sends no virtual node to the server. A wire that leaves one begins where the input of the same place
does; the page asks a Get node for the input of the Set node of its name instead.
"""

from __future__ import annotations

from ..errors import WorkflowError
from .graph import Graph, SavedNode

__all__ = ["NOTES", "PRIMITIVE", "REROUTE", "find_setter", "is_getter", "is_virtual"]

NOTES = {"Note", "MarkdownNote", "SemanticEditLargeNote"}
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
# KJNodes (and diffus3's, where they began), and ComfyUI-Easy-Use: the name is the first value of the node.
_SETTERS = {"SetNode", "easy setNode"}
_GETTERS = {"GetNode", "easy getNode"}
_RGTHREE = (
    "Reroute", "Label", "Bookmark", "Fast Muter", "Fast Bypasser", "Fast Groups Muter", "Fast Groups Bypasser",
    "Mute / Bypass Relay", "Mute / Bypass Repeater", "Fast Actions Button", "Node Collector", "Node Combiner",
    "Random Unmuter", "Power Conductor",
)  # fmt: skip
_VIRTUAL = {REROUTE, PRIMITIVE, *NOTES, *_SETTERS, *_GETTERS, *(f"{name} (rgthree)" for name in _RGTHREE)}


def is_virtual(node: SavedNode, info: dict[str, dict]) -> bool:
    """Return True for a node that only the page knows; a pack may have a real one of the same name."""
    return node.type in _VIRTUAL and node.type not in info


def is_getter(node: SavedNode) -> bool:
    """Return True for a node whose output is the input of a Set node."""
    return node.type in _GETTERS


def find_setter(graph: Graph, getter: SavedNode) -> tuple[Graph, SavedNode] | None:
    """Return the Set node that a Get node reads, with its graph; None when there is none.

    Its own graph comes first, where the first Set node of the name counts; then those around it. A Set node inside of a
    subgraph is not seen from outside.

    Raises:
        WorkflowError: several Set nodes of that name, none of them in the Get node's own graph.
    """
    name = _name_of(getter)
    if not name:
        return None
    setters: list[tuple[Graph, SavedNode]] = []
    around: Graph | None = graph
    while around is not None:
        nodes = _setters(around).get(name, [])
        if nodes and around is graph:
            return graph, nodes[0]
        setters += [(around, node) for node in nodes]
        around = around.parent
    if len(setters) > 1:
        ids = " and ".join(f"#{place.full_id(node)}" for place, node in setters[:5])
        raise WorkflowError(
            f"{getter.title or getter.type} (#{graph.full_id(getter)}) gets {name[:60]!r}, which several Set nodes "
            f"set: {ids}. Give them names of their own."
        )
    return setters[0] if setters else None


def _setters(graph: Graph) -> dict[str, list[SavedNode]]:
    """Return the Set nodes of a graph by the name they set."""
    if graph.setters is None:
        graph.setters = {}
        for node in graph.nodes.values():
            if node.type in _SETTERS:
                graph.setters.setdefault(_name_of(node), []).append(node)
    return graph.setters


def _name_of(node: SavedNode) -> str:
    """Return the name that a Set or Get node holds; "" for none."""
    values = list(node.values.values()) if isinstance(node.values, dict) else node.values
    name = values[0] if isinstance(values, list) and values else None
    return name if isinstance(name, str) else ""
