"""Load Imagic Edit: a learned photo from a file."""

from __future__ import annotations

from ... import host
from ...editing.imagic.conditioning import Conditioning, conditioning_list
from ...host import io
from ...models.files.imagic import LearnedLora, read_imagic
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases


class LoadImagicEdit(io.ComfyNode):
    """A learned photo from a file, put on the model it was learned with."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadImagicEdit",
            display_name="Load Imagic Edit",
            category=menu_category("imagic"),
            description="Loads what Save Imagic Edit has kept: the photo's embedding and the tuned model, ready for a "
            "new sentence.",
            **search_aliases("Imagic", "open edit of a photo"),
            inputs=[
                io.Model.Input("model", tooltip="The model that the photo was learned with. It is not changed."),
                file_input("imagic", "file", "An edit from models/semantic_edit/imagic or saved earlier."),
            ],
            outputs=[
                io.Model.Output("tuned", "tuned", tooltip="The model with what it learned."),
                io.Conditioning.Output("optimised", "optimised", tooltip="The photo's embedding."),
                io.LoraModel.Output("lora", "lora", tooltip="What it learned, alone."),
                io.String.Output("prompt", "prompt", tooltip="The sentence it was saved with."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("imagic", file)

    @classmethod
    def execute(cls, model, file: str) -> io.NodeOutput:
        fields = read_imagic(model_file("imagic", file))
        tuned = host.current().diffusion.apply_lora(model, fields["lora"])
        conditioning = Conditioning(fields["embedding"], fields["extras"])
        learning = fields["provenance"].get("learning")
        lora = LearnedLora(fields["lora"], learning) if isinstance(learning, dict) else fields["lora"]
        return io.NodeOutput(tuned, conditioning_list(conditioning), lora, fields["prompt"])
