"""Generate Images: synthesis."""

from __future__ import annotations

from ...editing.common.types import GanLatent
from ...host import io
from ...models.errors import check_choice
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import to_image_batch
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, seed_input
from ..common.sockets import GanGeneratorType, GanLatentType

NOISES = ("constant", "none", "seeded")


class GenerateImages(io.ComfyNode):
    """Synthesis: codes to pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditGenerateImages",
            display_name="Generate Images",
            category=menu_category("generator"),
            description="Turns codes into pictures with the generator they belong to.",
            **search_aliases("draw faces", "decode latents", "synthesize", "StyleGAN generate"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that the codes were made with."),
                GanLatentType.Input("latents", tooltip="The codes, one per picture."),
                io.Combo.Input(
                    "noise",
                    options=list(NOISES),
                    default="constant",
                    tooltip="The fine grain that codes do not decide. constant: the one stored with the generator, so "
                    "that edits can be compared; none: smooth; seeded: drawn from noise_seed for each picture.",
                ),
                seed_input("noise_seed", "Which grain to draw when noise is 'seeded'."),
            ],
            outputs=[
                io.Image.Output("images", "images", "The pictures, in the order of the codes."),
            ],
        )

    @classmethod
    def execute(cls, generator: GanGenerator, latents: GanLatent, noise: str, noise_seed: int) -> io.NodeOutput:
        check_choice("noise", noise, NOISES)
        check_latent(generator, latents)
        place(generator)
        progress = progress_for(len(latents), "generating")
        mode = noise_seed if noise == "seeded" else noise
        return io.NodeOutput(to_image_batch(generator.synthesize(latents.codes, mode, progress=progress)))
