"""Writes tests/nodes/schema.json, what saved workflows rely on: ``python -m semantic_edit.headless.commands.snapshot``.

A test compares the nodes with it, so that no id, type or order changes by accident.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..comfy_api.io import ComfyNode

SNAPSHOT = Path(__file__).resolve().parents[2] / "tests" / "nodes" / "schema.json"


def node_schemas(nodes: Iterable[type[ComfyNode]]) -> dict[str, dict]:
    """Return ids, types, order and fixed choices of every node's sockets, by node id, sorted."""
    schemas = {}
    for node in nodes:
        schema = node.GET_SCHEMA()
        schemas[schema.node_id] = {
            "inputs": [_input(socket) for socket in schema.inputs or []],
            "outputs": [[socket.id, str(socket.io_type)] for socket in schema.outputs or []],
            "is_output_node": bool(schema.is_output_node),
        }
    return dict(sorted(schemas.items()))


def as_text(schemas: dict[str, dict]) -> str:
    """Return the file's content, one socket a line."""
    lines = []
    for node_id, schema in schemas.items():
        entries = [f'  "is_output_node": {json.dumps(schema["is_output_node"])}']
        for kind in ("inputs", "outputs"):
            sockets = ",\n".join(f"   {json.dumps(socket)}" for socket in schema[kind])
            entries.append(f'  "{kind}": [\n{sockets}\n  ]' if sockets else f'  "{kind}": []')
        lines.append(f' "{node_id}": {{\n' + ",\n".join(entries) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _input(socket: Any) -> list:
    kind = "optional" if socket.optional else "required"
    # The choices of a list that does not depend on files belong to what is saved, too.
    choices = list(getattr(socket, "options", None) or [])
    fixed = choices if choices and not any("." in str(c) or str(c).startswith("(") for c in choices) else []
    return [socket.id, str(socket.io_type), kind, *([fixed] if fixed else [])]


def main() -> None:
    """Write the file anew."""
    from ..host.headless_host import use_headless

    use_headless()
    from ...nodes import node_classes

    SNAPSHOT.write_text(as_text(node_schemas(node_classes())), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
