"""Parts From Features: parts without a segmenter, by the generator's own features."""

from __future__ import annotations

from ...editing.common.types import GanLatent
from ...editing.text.feature_parts import parts_from_features
from ...editing.text.figures import part_colours
from ...host import io
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import to_image_batch
from ..common.latents import check_latent
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, seed_input
from ..common.sockets import GanGeneratorType, GanLatentType, PartLabelsType


class PartsFromFeatures(io.ComfyNode):
    """Clusters of features, the same in every batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditPartsFromFeatures",
            display_name="Parts From Features",
            category=menu_category("text"),
            description="Finds parts (hair, skin, background) by sorting the generator's features into clusters. Needs "
            "no segmenter; works for any subject.",
            **search_aliases("segment", "clusters", "unsupervised parts"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of these codes."),
                GanLatentType.Input("latents", tooltip="The pictures to label."),
                io.Int.Input("count", default=8, min=2, max=32, tooltip="How many parts to tell apart."),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=1024,
                    tooltip="Height of the sorted features, one of the generator's. 0: a quarter of the picture.",
                ),
                io.Float.Input(
                    "softness",
                    default=0.15,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="0: every place belongs to one part alone. Above: parts fade into each other.",
                ),
                seed_input(tooltip="Decides the sampled pictures; the same seed gives the same parts."),
            ],
            outputs=[
                PartLabelsType.Output(
                    "parts", "parts", tooltip="'part 1' (the largest), 'part 2', ... of every picture."
                ),
                io.Image.Output("preview", "preview", tooltip="The parts in colours, to see which is which."),
            ],
        )

    @classmethod
    def execute(
        cls, generator: GanGenerator, latents: GanLatent, count: int, height: int, softness: float, seed: int
    ) -> io.NodeOutput:
        check_latent(generator, latents)
        place(generator)
        parts = parts_from_features(
            generator, latents.codes, count, height, softness=softness, seed=seed,
            progress=progress_for(len(latents), "labelling"),
        )  # fmt: skip
        return io.NodeOutput(parts, to_image_batch(part_colours(parts)))
