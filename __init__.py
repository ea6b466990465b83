"""Semantic Edit: batch, text, painting and sentence edits of pictures, as ComfyUI nodes and as a Python package."""

import sys

# Only ComfyUI has both of these loaded when it reads its custom nodes; a plain import of the package stays light.
if "folder_paths" in sys.modules and "comfy" in sys.modules:
    import logging

    from comfy_api.latest import ComfyExtension

    from . import host
    from .models.loading.torchvision_check import torchvision_problem

    WEB_DIRECTORY = "./web"
    host.use_comfyui()
    if problem := torchvision_problem():
        logging.getLogger(__name__).warning(problem)

    class SemanticEditExtension(ComfyExtension):
        """Hands ComfyUI the nodes."""

        async def get_node_list(self):
            from .nodes import node_classes

            return node_classes()

    async def comfy_entrypoint():
        return SemanticEditExtension()
