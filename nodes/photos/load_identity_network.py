"""Load Identity Network: a face recogniser, for edits and inversions that have to keep the person."""

from __future__ import annotations

from ...host import io
from ...models.losses.files import load_identity
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import IdentityNetworkType


class LoadIdentityNetwork(io.ComfyNode):
    """ArcFace as pixel2style2pixel, e4e and StyleCLIP use it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadIdentityNetwork",
            display_name="Load Identity Network",
            category=menu_category("photos"),
            description="Loads a face recogniser (ArcFace on IR-SE 50) from models/semantic_edit/losses, for Train "
            "Text Edit and Invert Images. Convert Checkpoint makes it of model_ir_se50.pth.",
            **search_aliases("ArcFace", "face recognition", "ID loss", "model_ir_se50", "same person"),
            inputs=[file_input("losses", "file", "A face recogniser from models/semantic_edit/losses.")],
            outputs=[
                IdentityNetworkType.Output(
                    "identity_network", "identity_network", "Tells how alike two faces are; looks at aligned portraits."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        return model_file_fingerprint("losses", file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_identity(model_file("losses", file)))
