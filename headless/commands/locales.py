"""Writes locales/*/nodeDefs.json: ``python -m semantic_edit.headless.commands.locales``.

English comes from the schemas; ComfyUI shows the file's texts instead of the nodes' own. Another language is a file
locales/<language>/texts.json, from each English text to its translation: what changes in English is then missing there,
is named by this command, and is shown in English until somebody translates it. A test fails when a file is stale or a
translation incomplete. Names of sockets that are their ids stay: help pages, messages and workflows refer to them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from ...models.printable import write_line
from ..comfy_api.io import ComfyNode, Schema
from ..comfy_api.sockets import Input, Output

FOLDER = Path(__file__).resolve().parents[2] / "locales"
ENGLISH = FOLDER / "en" / "nodeDefs.json"


def node_definitions(nodes: Iterable[type[ComfyNode]]) -> dict[str, dict]:
    """Return the texts of every node in the form of ComfyUI's nodeDefs.json, by node id, sorted."""
    schemas = sorted((node.GET_SCHEMA() for node in nodes), key=lambda schema: schema.node_id)
    return {schema.node_id: _definition(schema) for schema in schemas}


def as_text(definitions: dict[str, dict]) -> str:
    """Return the file's content."""
    return json.dumps(definitions, indent=2, ensure_ascii=False) + "\n"


def texts_of(definitions: dict[str, dict]) -> list[str]:
    """Return every text that a translation needs, once each, in the order of the nodes."""
    texts: dict[str, None] = {}
    for node in definitions.values():
        texts[node["display_name"]] = texts[node["description"]] = None
        for group in ("inputs", "outputs"):
            for key, socket in node.get(group, {}).items():
                texts.update((socket[name], None) for name in _translatable(group, key, socket))
    return list(texts)


def translated(definitions: dict[str, dict], texts: dict[str, str]) -> dict[str, dict]:
    """Return the definitions with every text that `texts` knows exchanged."""
    result = {}
    for node_id, node in definitions.items():
        result[node_id] = {name: texts.get(node[name], node[name]) for name in ("display_name", "description")}
        for group in ("inputs", "outputs"):
            if group in node:
                result[node_id][group] = {
                    key: socket
                    | {name: texts.get(socket[name], socket[name]) for name in _translatable(group, key, socket)}
                    for key, socket in node[group].items()
                }
    return result


def _translatable(group: str, key: str, socket: dict[str, str]) -> list[str]:
    """Return which of a socket's texts are translated: its tooltip, and an input's name that is not its id."""
    shown_otherwise = group == "inputs" and socket["name"] != key
    return (["name"] if shown_otherwise else []) + (["tooltip"] if "tooltip" in socket else [])


def main() -> None:
    """Write all files anew, and say what other languages lack."""
    from ..host.headless_host import use_headless

    use_headless()
    from ...nodes import node_classes

    definitions = node_definitions(node_classes())
    ENGLISH.parent.mkdir(parents=True, exist_ok=True)
    ENGLISH.write_text(as_text(definitions), encoding="utf-8", newline="\n")
    for path in sorted(FOLDER.glob("*/texts.json")):
        texts = json.loads(path.read_text(encoding="utf-8"))
        written = as_text(translated(definitions, texts))
        path.with_name("nodeDefs.json").write_text(written, encoding="utf-8", newline="\n")
        missing = [text for text in texts_of(definitions) if text not in texts]
        for text in missing:
            write_line(sys.stdout, f"{path.relative_to(FOLDER)} lacks: {text}")


def _definition(schema: Schema) -> dict:
    """Return the texts of one node."""
    definition: dict = {"display_name": schema.display_name, "description": schema.description}
    inputs = {socket.id: _socket(socket, socket.id) for socket in schema.inputs or []}
    outputs = {
        str(k): _socket(socket, socket.id or str(socket.io_type)) for k, socket in enumerate(schema.outputs or [])
    }
    return definition | {name: group for name, group in (("inputs", inputs), ("outputs", outputs)) if group}


def _socket(socket: Input | Output, fallback: str) -> dict[str, str]:
    texts = {"name": socket.display_name or fallback, "tooltip": socket.tooltip}
    return {name: text for name, text in texts.items() if text}


if __name__ == "__main__":
    main()
