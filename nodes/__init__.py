"""The nodes, found file by file: every module here without a leading underscore is searched for node classes."""

from __future__ import annotations

import importlib
import pkgutil

from ..host import io
from ._ranges import within_ranges


def node_classes() -> list[type[io.ComfyNode]]:
    """Return every node class of this package, by file name and then in the order they are written.

    Raises:
        ValueError: two classes claim the same node id.
    """
    found: dict[str, type[io.ComfyNode]] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f".{module_info.name}", __name__)
        for node in vars(module).values():
            if not _is_node_of(module, node):
                continue
            node_id = node.GET_SCHEMA().node_id
            if node_id in found:
                raise ValueError(f"Node id {node_id} is claimed by {found[node_id].__module__} and {module.__name__}.")
            found[node_id] = within_ranges(node)
    return list(found.values())


def _is_node_of(module, thing) -> bool:
    is_node = isinstance(thing, type) and issubclass(thing, io.ComfyNode)
    return is_node and thing.__module__ == module.__name__ and not thing.__name__.startswith("_")
