"""Load Generator: a network from a file."""

from __future__ import annotations

from ...host import PACK, current, io
from ...models.errors import InputError
from ...models.gan.generator import load_generator
from ...models.gan.precision import PRECISIONS
from ..common.model_files import model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType

YOUR_OWN = "(your own: put a file into models/semantic_edit/generators, then Convert Checkpoint)"


class LoadGenerator(io.ComfyNode):
    """A generator from the models folder, with what editing needs to know about it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadGenerator",
            display_name="Load Generator",
            category=menu_category("generator"),
            description="Loads a StyleGAN2, StyleGAN3 or Progressive GAN generator from models/semantic_edit/"
            "generators. Other formats (.pkl, .pt) become usable by the node Convert Checkpoint.",
            **search_aliases("StyleGAN", "StyleGAN2", "StyleGAN3", "Progressive GAN", "checkpoint", "face model"),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=_options(),
                    tooltip="A .safetensors generator below models/semantic_edit/generators. To use your own, put the "
                    "published .pkl or .pt there, run the node Convert Checkpoint once, and press r.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default="automatic",
                    optional=True,
                    tooltip="Of a StyleGAN2's four highest resolutions when finished pictures are drawn. automatic: "
                    "float32 on a CPU, float16 on a card, as published. bfloat16 is faster on CPUs that have it, and "
                    "coarser. What learns, paints or edits features stays in float32.",
                ),
            ],
            outputs=[
                GanGeneratorType.Output(
                    "generator", "generator", "The network with what editing needs to know about it."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, precision: str = "automatic") -> str:
        return model_file_fingerprint("generators", file)

    @classmethod
    def execute(cls, file: str, precision: str = "automatic") -> io.NodeOutput:
        if file == YOUR_OWN:
            raise InputError(
                f"'{YOUR_OWN}' is a note, no file. Put a StyleGAN2, StyleGAN3 or Progressive GAN checkpoint into "
                f"{current().model_folders('generators')[0]}, run the node Convert Checkpoint once, press r and choose "
                "the new file."
            )
        return io.NodeOutput(load_generator(model_file("generators", file), precision=precision))


def _options() -> list[str]:
    """Return the generators; while there are none but those that come with the pack, a note says how to add one."""
    names = current().list_models("generators")
    if any(not current().model_path("generators", name).is_relative_to(PACK / "models" / "demo") for name in names):
        return names
    return [*names, YOUR_OWN]
