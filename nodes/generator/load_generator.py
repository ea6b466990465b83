"""Load Generator."""

from __future__ import annotations

from ...host import io
from ...models.gan.generator import load_generator
from ..common.model_files import chosen_file, chosen_file_state, file_input
from ..common.schema import CATEGORY, search_words
from ..common.sockets import GanGeneratorType


class LoadGenerator(io.ComfyNode):
    """A generator from the models folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadGenerator",
            display_name="Load Generator",
            category=CATEGORY("generator"),
            description="Loads a StyleGAN2 or Progressive GAN generator from models/semantic_edit/generators. Other "
            "formats (.pkl, .pt) become usable by the command 'semantic-edit convert'.",
            **search_words("StyleGAN", "StyleGAN2", "Progressive GAN"),
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
        return chosen_file_state("generators", file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_generator(chosen_file("generators", file)))
