"""Workflow documents: what people share (UI format), what the server takes (API format), pictures with either.

Both end as one prompt: ``{node id: {"class_type": ..., "inputs": {name: value or [node id, output index]}}}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.nesting import is_deeper
from ...models.printable import printable
from ..errors import WorkflowError
from .flatten import flatten
from .pictures import PICTURES, workflow_text

LARGEST = 100_000_000  # bytes of a file; workflows with pictures inside take a few million
DEEPEST = 200  # values within values; what ComfyUI writes has fewer than 20


@dataclass
class Prompt:
    """A workflow ready to run."""

    nodes: dict[str, dict]  # node id -> class_type, inputs, _meta
    workflow: dict | None = None  # the UI-format document, which travels on into saved pictures

    def title(self, node_id: str) -> str:
        """Return a node's title with its id, as sentences name it."""
        node = self.nodes[node_id]
        return printable(f"{node.get('_meta', {}).get('title') or node['class_type']} (#{node_id})")


def read_document(path: Path | str) -> dict:
    """Read a workflow document from a .json file or from a picture saved with its workflow inside.

    Raises:
        WorkflowError: no such file, not JSON, or no workflow in it.
    """
    path = Path(path)
    try:
        size = path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        size = None
    if size is None:
        raise WorkflowError(f"There is no workflow file {path}: give the path of a .json saved by ComfyUI.")
    if size > LARGEST:
        raise WorkflowError(f"{path.name} is not a workflow: it has {size} bytes, more than {LARGEST}.")
    try:
        is_picture = path.suffix.lower() in PICTURES
        document = json.loads(workflow_text(path) if is_picture else path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WorkflowError(f"{path.name} is not a workflow: it cannot be read as JSON ({reason}).") from None
    if not isinstance(document, dict):
        raise WorkflowError(f"{path.name} is not a workflow: expected an object with nodes, found {_kind(document)}.")
    return document


def to_prompt(document: dict, info: dict[str, dict]) -> Prompt:
    """Turn a document of either format into a prompt.

    Args:
        document: as `read_document` returns it; it is not changed.
        info: the description of every node known, by class type, as /object_info gives it.

    Raises:
        WorkflowError: the document does not hold together, or uses a node that `info` does not describe.
    """
    if is_deeper(document, DEEPEST):  # it could be read, but not be written into a picture again
        raise WorkflowError(f"The workflow file is damaged: its values lie more than {DEEPEST} deep within each other.")
    if "nodes" in document:
        try:
            return Prompt(flatten(document, info), document)
        except RecursionError:
            raise WorkflowError("The workflow file nests its subgraphs too deeply.") from None
    if isinstance(document.get("prompt"), dict):  # the body of a POST to /prompt
        document = document["prompt"]
    return Prompt(_read_api_format(document))


def _read_api_format(document: dict) -> dict[str, dict]:
    """Copy an API-format document, refusing entries that are no nodes."""
    if not document:
        raise WorkflowError("The workflow is empty: it has no nodes.")
    nodes = {}
    for node_id, node in document.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise WorkflowError(
                f"The workflow is in neither of ComfyUI's formats: there is no 'nodes' list, and the entry {node_id!r} "
                "has no 'class_type'. Save it again with Workflow > Save or Export (API)."
            )
        inputs = node.get("inputs", {})
        if not isinstance(inputs, dict):
            raise WorkflowError(f"Node #{node_id}: its inputs are {_kind(inputs)}, expected names with values.")
        meta = node.get("_meta")
        nodes[str(node_id)] = {
            "class_type": node["class_type"],
            "inputs": {str(name): value for name, value in inputs.items()},
            "_meta": meta if isinstance(meta, dict) else {},
        }
    return nodes


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false", dict: "names"}
    return names.get(type(value), "nothing")
