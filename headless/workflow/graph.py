"""The saved graph of a UI-format workflow: nodes, links, and the subgraphs unfolded once per instance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import WorkflowError

MOST_NODES = 20_000  # subgraphs within subgraphs can grow a small file without bound


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
    overrides: dict[tuple[str, str], Any] = field(default_factory=dict)  # (node id, input) -> value set on the instance

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
    return _expand(_graph(document), subgraphs, (), [0])


def _expand(graph: Graph, definitions: dict, within: tuple, count: list[int]) -> Graph:
    """Unfold the subgraphs of a graph, in place.

    Args:
        definitions: subgraphs by id.
        within: the types of the subgraphs around it.
        count: one number, the nodes read so far; it grows.
    """
    count[0] += len(graph.nodes)
    if count[0] > MOST_NODES:
        raise WorkflowError(f"The workflow has more than {MOST_NODES} nodes once its subgraphs are unfolded.")
    for node in graph.nodes.values():
        definition = definitions.get(node.type)
        if definition is None:
            continue
        if node.type in within:
            raise WorkflowError(f"The subgraph {definition.get('name')!r} contains itself.")
        inner = _graph(definition)
        inner.path, inner.parent = f"{graph.path}{node.id}:", graph
        inner.instance = node
        if isinstance(node.values, list) and len(node.values) == len(node.proxies):
            pairs = zip(node.proxies, node.values, strict=True)
            inner.overrides = {(str(proxy[0]), proxy[1]): value for proxy, value in pairs if value is not None}
        graph.inner[node.id] = _expand(inner, definitions, (*within, node.type), count)
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
    proxies, alias = properties.get("proxyWidgets"), properties.get("Node name for S&R")
    named = saved.get("widgets_values_named")
    return SavedNode(
        id=str(saved["id"]),
        type=saved["type"],
        title=saved["title"] if isinstance(saved.get("title"), str) else None,
        mode=saved.get("mode") or 0,
        inputs=_sockets(saved),
        outputs=[
            _type(socket.get("type")) for socket in _objects(saved, "outputs", f"the outputs of node #{saved['id']}")
        ],
        values=saved.get("widgets_values"),
        named=named if isinstance(named, dict) else {},
        proxies=[proxy for proxy in proxies if _is_proxy(proxy)] if isinstance(proxies, list) else [],
        alias=alias if isinstance(alias, str) else None,
    )


def _sockets(saved: dict) -> list[Socket]:
    """Read the inputs of a node."""
    sockets = []
    for socket in _objects(saved, "inputs", f"the inputs of node #{saved['id']}"):
        link = socket.get("link")
        name, kind = str(socket.get("name")), socket.get("type")
        sockets.append(Socket(name, _type(kind), None if link is None else str(link), bool(socket.get("widget"))))
    return sockets


def _is_proxy(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and isinstance(value[1], str)


def _type(kind: Any) -> str:
    """Return a type's name: lists of choices are COMBO, and what is not said fits all."""
    return "COMBO" if isinstance(kind, list) else str(kind) if kind not in (None, 0, -1) else "*"
