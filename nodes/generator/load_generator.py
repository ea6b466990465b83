"""Load Generator: a network from a file."""

from __future__ import annotations

from ...host import io
from ...models.gan.generator import load_generator
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType


class LoadGenerator(io.ComfyNode):
    """A generator from the models folder, with what editing needs to know about it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadGenerator",
            display_name="Load Generator",
            category=menu_category("generator"),
            description="Loads a StyleGAN2 or Progressive GAN generator from models/semantic_edit/generators. Other "
            "formats (.pkl, .pt) become usable by the command 'semantic-edit convert'.",
            **search_aliases("StyleGAN", "StyleGAN2", "Progressive GAN"),
            inputs=[
                file_input("generators", "file", "A .safetensors generator below models/semantic_edit/generators."),
            ],
            outputs=[
                GanGeneratorType.Output(
                    "generator", "generator", "The network with what editing needs to know about it."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        return model_file_fingerprint("generators", file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_generator(model_file("generators", file)))
