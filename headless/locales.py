"""Writes locales/en/nodeDefs.json from the schemas: ``python -m semantic_edit.headless.locales``.

ComfyUI shows this file's texts instead of the nodes' own, and translators start from it. A test fails when it is stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .api import ComfyNode, Schema
from .sockets import Input, Output

ENGLISH = Path(__file__).resolve().parent.parent / "locales" / "en" / "nodeDefs.json"


def node_definitions(nodes: Iterable[type[ComfyNode]]) -> dict[str, dict]:
    """Return the texts of every node in the form of ComfyUI's nodeDefs.json, by node id, sorted."""
    schemas = sorted((node.GET_SCHEMA() for node in nodes), key=lambda schema: schema.node_id)
    return {schema.node_id: _definition(schema) for schema in schemas}


def as_text(definitions: dict[str, dict]) -> str:
    """Return the file's content."""
    return json.dumps(definitions, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the English file anew."""
    from .side import use_headless

    use_headless()
    from ..nodes import node_classes

    ENGLISH.parent.mkdir(parents=True, exist_ok=True)
    ENGLISH.write_text(as_text(node_definitions(node_classes())), encoding="utf-8", newline="\n")


def _definition(schema: Schema) -> dict:
    definition: dict = {"display_name": schema.display_name, "description": schema.description}
    inputs = {socket.id: _socket(socket, socket.id) for socket in schema.inputs or []}
    outputs = {str(k): _socket(socket, socket.id or str(socket.io_type)) for k, socket in enumerate(schema.outputs or [])}
    return definition | {name: part for name, part in (("inputs", inputs), ("outputs", outputs)) if part}


def _socket(socket: Input | Output, otherwise: str) -> dict[str, str]:
    texts = {"name": socket.display_name or otherwise, "tooltip": socket.tooltip}
    return {name: text for name, text in texts.items() if text}


if __name__ == "__main__":
    main()
