"""Copy Appearance: a stroke that gives a region the look of another."""

from __future__ import annotations

import torch

from ...editing.common.types import GanLatent
from ...editing.paint.painting import Painting
from ...editing.paint.strokes import APPEARANCES, copy_appearance
from ...host import io
from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.latents import check_latent
from ..common.progress import layer_progress
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, GanLatentType, GanPaintingType


class CopyAppearance(io.ComfyNode):
    """GANPaint's channel means, and forms that keep structure."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditCopyAppearance",
            display_name="Copy Appearance",
            category=menu_category("paint"),
            description="Gives the region under the mask the look of a region of another picture: the colour of its "
            "hair, its hat or its background.",
            **search_aliases("copy hair", "copy color", "style of a region", "transfer look"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that will draw, or one of its family."),
                GanLatentType.Input("latents", tooltip="The pictures that are painted."),
                io.Mask.Input("mask", tooltip="Where to paint: 1 (white) is painted. Any size; it is resized."),
                GanLatentType.Input(
                    "reference", tooltip="The picture whose look is copied: one, or one for each picture."
                ),
                io.Mask.Input("reference_mask", tooltip="What of the reference is copied: 1 where it counts."),
                io.Combo.Input(
                    "form",
                    options=list(APPEARANCES),
                    tooltip="statistics: mean and spread of each unit on all late layers, colours matched; keeps your "
                    "structure. fine rows: the codes of the late layers. nearest cells, channel means: one layer.",
                ),
                io.Int.Input(
                    "layer",
                    default=-1,
                    min=-1,
                    max=64,
                    tooltip="The layer whose features are copied; of the last two forms. -1 takes the usual one.",
                ),
                GanPaintingType.Input(
                    "painting", optional=True, tooltip="Earlier strokes; this one is painted on top of them."
                ),
            ],
            outputs=[GanPaintingType.Output("painted", "painted", tooltip="The strokes so far, with this one on top.")],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        latents: GanLatent,
        mask: torch.Tensor,
        reference: GanLatent,
        reference_mask: torch.Tensor,
        form: str,
        layer: int,
        painting: Painting | None = None,
    ) -> io.NodeOutput:
        check_choice("form", form, APPEARANCES)
        count = len(generator.network.synthesis.layers)
        if layer >= count:
            raise InputError(f"Layer {layer} does not exist; '{generator.name}' has layers 0 to {count - 1}, or -1.")
        check_latent(generator, latents, "The latent to paint")
        check_latent(generator, reference, "The reference latent")
        place(generator)
        index = None if layer < 0 else layer
        with layer_progress(generator, 2, "copying the look"):
            painted = copy_appearance(
                generator, latents.codes, mask, reference.codes, reference_mask, form, index, painting
            )
        return io.NodeOutput(painted)
