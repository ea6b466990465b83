"""Semantic Edit: batch, text, painting and sentence edits of pictures, as ComfyUI nodes and as a Python package."""

import sys

# Only ComfyUI has both of these loaded when it reads its custom nodes; a plain import of the package stays light.
if "folder_paths" in sys.modules and "comfy" in sys.modules:
    from comfy_api.latest import ComfyExtension

    from . import host

    WEB_DIRECTORY = "./web"
    host.use_comfyui()

    class SemanticEditExtension(ComfyExtension):
        """Hands ComfyUI the nodes."""

        async def get_node_list(self):
            from .nodes import node_classes

            return node_classes()

    async def comfy_entrypoint():
        return SemanticEditExtension()
