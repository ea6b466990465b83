"""Catalog of the nodes that workflows may use here: the pack's, and the core nodes that shared files need."""

from __future__ import annotations

from ..comfy_api.io import ComfyNode
from ..core_nodes import diffusion as core_diffusion
from ..core_nodes import files as core_files
from ..core_nodes import films as core_films
from ..core_nodes import images as core_images
from ..core_nodes import values as core_values

CORE = (core_diffusion, core_files, core_films, core_images, core_values)


def core_nodes() -> dict[str, type[ComfyNode]]:
    """Return ComfyUI's own nodes as far as they are offered without it, by class type."""
    classes = (node for module in CORE for node in vars(module).values() if isinstance(node, type))
    nodes = (node for node in classes if issubclass(node, ComfyNode) and node is not ComfyNode)
    return {node.GET_SCHEMA().node_id: node for node in nodes}


def installed_nodes() -> dict[str, type[ComfyNode]]:
    """Return every node class offered without ComfyUI, by class type."""
    from ... import nodes as pack  # not before the host is chosen: the nodes take their interface from it

    return core_nodes() | {node.GET_SCHEMA().node_id: node for node in pack.node_classes()}


def describe(nodes: dict[str, type[ComfyNode]]) -> dict[str, dict]:
    """Return the description of every node as /object_info gives it, by class type."""
    return {class_type: node.GET_NODE_INFO_V1() for class_type, node in nodes.items()}
