"""Node registry: a folder per stage, and in it every module without a leading underscore."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from ..host import io
from .common.ranges import within_ranges


def node_classes() -> list[type[io.ComfyNode]]:
    """Return every node class of this package, by file name and then in the order they are written.

    Raises:
        ValueError: two classes claim the same node id.
    """
    classes: dict[str, type[io.ComfyNode]] = {}
    for name in sorted(_modules(), key=lambda name: name.rpartition(".")[2]):
        module = importlib.import_module(name)
        for node in vars(module).values():
            if not _is_node_of(module, node):
                continue
            node_id = node.GET_SCHEMA().node_id
            if node_id in classes:
                raise ValueError(f"Node id {node_id} is claimed by {classes[node_id].__module__} and {name}.")
            classes[node_id] = within_ranges(node)
    return list(classes.values())


def _modules() -> Iterator[str]:
    """Yield the full names of the modules that may hold nodes."""
    for stage in pkgutil.iter_modules(__path__, f"{__name__}."):
        folder = importlib.import_module(stage.name).__path__
        for module in pkgutil.iter_modules(folder, f"{stage.name}."):
            if not module.name.rpartition(".")[2].startswith("_"):
                yield module.name


def _is_node_of(module: ModuleType, value: object) -> bool:
    """Return True for a public node class that this module defines itself."""
    is_node = isinstance(value, type) and issubclass(value, io.ComfyNode)
    return is_node and value.__module__ == module.__name__ and not value.__name__.startswith("_")
