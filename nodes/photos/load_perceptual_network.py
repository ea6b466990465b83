"""Load Perceptual Network: LPIPS or VGG16, which measures how different two pictures look."""

from __future__ import annotations

from ...host import io
from ...models.losses.files import load_perceptual
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import PerceptualNetworkType


class LoadPerceptualNetwork(io.ComfyNode):
    """LPIPS 0.1 on VGG16; VGG16 alone counts every channel alike."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadPerceptualNetwork",
            display_name="Load Perceptual Network",
            category=menu_category("photos"),
            description="Loads LPIPS or VGG16 from models/semantic_edit/losses, for Invert Images. Convert Checkpoint "
            "makes it of torchvision's VGG16 or of a saved LPIPS.",
            **search_aliases("LPIPS", "VGG", "VGG16", "perceptual loss"),
            inputs=[file_input("losses", "file", "A perceptual network from models/semantic_edit/losses.")],
            outputs=[
                PerceptualNetworkType.Output(
                    "perceptual_network", "perceptual_network", "Tells how different two pictures look."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        return model_file_fingerprint("losses", file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_perceptual(model_file("losses", file)))
