"""Sample Latents: random codes."""

from __future__ import annotations

from ...editing.common.sample import ANY_CLASS, sample
from ...host import io
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.schema import menu_category, search_aliases, seed_input
from ..common.sockets import GanGeneratorType, GanLatentType


class SampleLatents(io.ComfyNode):
    """Random codes of W, truncated toward the mean (the truncation trick of StyleGAN)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSampleLatents",
            display_name="Sample Latents",
            category=menu_category("generator"),
            description="Draws random codes that the generator turns into new pictures. The same seed gives the same "
            "pictures; a larger count adds to them and keeps the first ones.",
            **search_aliases("random faces", "new face", "seed", "StyleGAN sample"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="Whose codes to draw."),
                io.Int.Input("count", default=4, min=1, max=4096, tooltip="How many pictures."),
                seed_input("seed", "The same seed draws the same codes on every machine.", randomize=True),
                io.Float.Input(
                    "truncation",
                    default=0.7,
                    min=-1.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How far the pictures may be from the mean picture: 1 is the full variety, lower is "
                    "cleaner and more alike, 0 is the mean itself.",
                ),
                io.Int.Input(
                    "truncation_layers",
                    default=0,
                    min=0,
                    max=64,
                    tooltip="Pull only this many rows, counted from the coarsest, toward the mean. 0 means all.",
                ),
                io.Int.Input(
                    "label",
                    default=ANY_CLASS,
                    min=ANY_CLASS,
                    max=65535,
                    tooltip="Class number, for generators trained with classes. -1 draws a class for each picture.",
                ),
            ],
            outputs=[
                GanLatentType.Output("latents", "latents", "The codes, one per picture."),
            ],
        )

    @classmethod
    def execute(
        cls, generator: GanGenerator, count: int, seed: int, truncation: float, truncation_layers: int, label: int
    ) -> io.NodeOutput:
        place(generator)
        return io.NodeOutput(sample(generator, count, seed, truncation, truncation_layers, label))
