"""The saved graph of a UI-format workflow: nodes, links, and the subgraphs unfolded once per instance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import WorkflowError

# Subgraphs within subgraphs can grow a small file without bound.
MOST_NODES = 20_000
MOST_SOCKETS = 500_000  # links, inputs and outputs of all nodes
MOST_OF_ONE_NODE = 2_000  # inputs, outputs, or widgets shown on a subgraph


class Link(NamedTuple):
    """One wire: output `origin_slot` of node `origin` to input `target_slot` of node `target`."""

    origin: str
    origin_slot: int
    target: str
    target_slot: int


class Socket(NamedTuple):
    """One input of a saved node."""

    name: str
    type: str
    link: str | None
    widget: bool


@dataclass
class SavedNode:
    """A node as the file has it."""

    id: str
    type: str
    title: str | None
    mode: int
    inputs: list[Socket]
    outputs: list[str]
    values: Any
    named: dict[str, Any]  # the same by the widgets' names, in files of newer frontends
    proxies: list
    quarantine: dict[str, Any]  # values by name that the page could not place when it read an older file
    alias: str | None  # the name that file name prefixes use for it


@dataclass
class Graph:
    """The nodes of the workflow, or of one subgraph instance within it."""

    nodes: dict[str, SavedNode]
    links: dict[str, Link]
    path: str = ""
    parent: Graph | None = None
    instance: SavedNode | None = None
    definition: dict = field(default_factory=dict)
    inner: dict[str, Graph] = field(default_factory=dict)
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)  # node id -> input -> value set on the instance
    setters: dict[str, list[SavedNode]] | None = None  # name -> Set nodes; `virtual` fills it
    exits: dict[int, Link] | None = None  # output of the frame -> its link; `trace` fills it
    # Of a subgraph's frame, by the slot of its input; `instances.bind` fills them.
    entries: dict[int, int] = field(default_factory=dict)  # slot -> index of the instance's input that feeds it
    values: dict[int, Any] = field(default_factory=dict)  # slot -> value of the instance's widget

    @property
    def input_frame(self) -> str:
        """The id that the links from a subgraph's inputs start at."""
        return str(self.definition.get("inputNode", {}).get("id", -10))

    @property
    def output_frame(self) -> str:
        """The id that the links to a subgraph's outputs end at."""
        return str(self.definition.get("outputNode", {}).get("id", -20))

    def full_id(self, node: SavedNode) -> str:
        """Return the node's id with those of the subgraph instances around it, as "7:12:3"."""
        return f"{self.path}{node.id}"


def read_graph(document: dict) -> Graph:
    """Read the nodes and links of a workflow, with one `Graph` more for each subgraph instance in it.

    Raises:
        WorkflowError: damaged, or a subgraph that contains itself.
    """
    library = document.get("definitions") or {}
    if not isinstance(library, dict):
        raise _damaged("its definitions are not named")
    subgraphs = {str(subgraph.get("id")): subgraph for subgraph in _objects(library, "subgraphs", "its subgraphs")}
    return _expand(_graph(document), subgraphs, (), {"nodes": 0, "sockets": 0})


def _expand(graph: Graph, definitions: dict, within: tuple, counts: dict[str, int]) -> Graph:
    """Unfold the subgraphs of a graph, in place.

    Args:
        definitions: subgraphs by id.
        within: the types of the subgraphs around it.
        counts: the nodes, and the links and sockets, read so far; they grow.
    """
    counts["nodes"] += len(graph.nodes)
    counts["sockets"] += len(graph.links) + len(graph.definition.get("inputs") or ())
    counts["sockets"] += sum(len(node.inputs) + len(node.outputs) + len(node.proxies) for node in graph.nodes.values())
    if counts["nodes"] > MOST_NODES:
        raise WorkflowError(f"The workflow has more than {MOST_NODES} nodes once its subgraphs are unfolded.")
    if counts["sockets"] > MOST_SOCKETS:
        raise WorkflowError(f"The workflow has more than {MOST_SOCKETS} links and sockets, subgraphs unfolded.")
    for node in graph.nodes.values():
        definition = definitions.get(node.type)
        if definition is None:
            continue
        if node.type in within:
            raise WorkflowError(f"The subgraph {definition.get('name')!r} contains itself.")
        inner = _graph(definition)
        inner.path, inner.parent = f"{graph.path}{node.id}:", graph
        inner.instance = node
        if isinstance(node.values, list):
            for proxy, value in zip(node.proxies, node.values, strict=False):  # the last may be left out
                if value is not None:
                    inner.overrides.setdefault(str(proxy[0]), {})[proxy[1]] = value
        graph.inner[node.id] = _expand(inner, definitions, (*within, node.type), counts)
    return graph


def _graph(document: dict) -> Graph:
    """Read a document or a subgraph's definition without what is inside its subgraphs."""
    nodes = {}
    for saved in _objects(document, "nodes", "its nodes"):
        if saved.get("id") is None or not isinstance(saved.get("type"), str):
            raise _damaged("one of its nodes has no id or no type")
        node = _node(saved)
        nodes[node.id] = node
    links = _links(document)
    inputs = _objects(document, "inputs", "the inputs of a subgraph") if "inputNode" in document else []
    frames = [document.get(name) for name in ("inputNode", "outputNode") if name in document]
    if not all(isinstance(frame, dict) for frame in frames):
        raise _damaged("the frame of a subgraph is not described")
    return Graph(nodes, links, definition={**document, "inputs": inputs})


def _links(document: dict) -> dict[str, Link]:
    """Read the links, by id, in either notation: lists, or names with values."""
    links = {}
    for link in _list(document, "links", "its links"):
        if link is None:  # the trace of a deleted one
            continue
        if isinstance(link, dict):
            link = [link.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
        if not isinstance(link, list) or len(link) < 5 or not all(_is_slot(link[i]) for i in (2, 4)):
            raise _damaged(f"{str(link)[:80]!r} is not a link")
        links[str(link[0])] = Link(str(link[1]), int(link[2]), str(link[3]), int(link[4]))
    return links


def _is_slot(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _list(document: dict, name: str, label: str) -> list:
    value = document.get(name) or []
    if not isinstance(value, list):
        raise _damaged(f"{label} are not a list")
    return value


def _objects(document: dict, name: str, label: str) -> list[dict]:
    values = _list(document, name, label)
    if not all(isinstance(value, dict) for value in values):
        raise _damaged(f"{label} are not all described by names and values")
    return values


def _damaged(reason: str) -> WorkflowError:
    return WorkflowError(f"The workflow file is damaged: {reason}. Save it again in ComfyUI.")


def _node(saved: dict) -> SavedNode:
    """Read a node, with defaults for all that old files leave out."""
    properties = saved.get("properties") if isinstance(saved.get("properties"), dict) else {}
    proxies, alias = _list(properties, "proxyWidgets", "the widgets of a subgraph"), properties.get("Node name for S&R")
    if len(proxies) > MOST_OF_ONE_NODE:
        raise _damaged(f"node #{saved['id']} shows {len(proxies)} widgets, more than {MOST_OF_ONE_NODE}")
    named = saved.get("widgets_values_named")
    return SavedNode(
        id=str(saved["id"]),
        type=saved["type"],
        title=saved["title"] if isinstance(saved.get("title"), str) else None,
        mode=saved.get("mode") or 0,
        inputs=_sockets(saved),
        outputs=[_type(socket.get("type")) for socket in _saved_sockets(saved, "outputs")],
        values=saved.get("widgets_values"),
        named=named if isinstance(named, dict) else {},
        proxies=[proxy if _is_proxy(proxy) else ["", ""] for proxy in proxies],
        quarantine=_quarantine(properties.get("proxyWidgetErrorQuarantine")),
        alias=alias if isinstance(alias, str) else None,
    )


def _sockets(saved: dict) -> list[Socket]:
    """Read the inputs of a node."""
    sockets = []
    for socket in _saved_sockets(saved, "inputs"):
        link = socket.get("link")
        name, kind = str(socket.get("name")), socket.get("type")
        sockets.append(Socket(name, _type(kind), None if link is None else str(link), bool(socket.get("widget"))))
    return sockets


def _saved_sockets(saved: dict, name: str) -> list[dict]:
    """Return the inputs or outputs of a node as the file has them."""
    sockets = _objects(saved, name, f"the {name} of node #{saved['id']}")
    if len(sockets) > MOST_OF_ONE_NODE:
        raise _damaged(f"node #{saved['id']} has {len(sockets)} {name}, more than {MOST_OF_ONE_NODE}")
    return sockets


def _quarantine(entries: Any) -> dict[str, Any]:
    """Read the values by input name that a page set aside; the first of a name counts."""
    values: dict[str, Any] = {}
    for entry in entries[:MOST_OF_ONE_NODE] if isinstance(entries, list) else ():
        origin = entry.get("originalEntry") if isinstance(entry, dict) else None
        if _is_proxy(origin) and str(origin[0]) == "-1" and entry.get("hostValue") is not None:
            values.setdefault(origin[1], entry["hostValue"])
    return values


def _is_proxy(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and isinstance(value[1], str)


def _type(kind: Any) -> str:
    """Return a type's name: lists of choices are COMBO, and what is not said fits all."""
    return "COMBO" if isinstance(kind, list) else str(kind) if kind not in (None, 0, -1) else "*"
