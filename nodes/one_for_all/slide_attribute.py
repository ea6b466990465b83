"""Slide Attribute: edit one example by a known direction."""

from __future__ import annotations

import torch

from ...editing.common.pictures import draw_states
from ...editing.common.rows import parse_rows
from ...editing.common.types import EditDirection, GanLatent
from ...editing.one_for_all.attributes import slide_attribute
from ...host import io
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.images import to_image_batch
from ..common.latents import check_latent
from ..common.progress import layer_progress
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanGeneratorType, GanLatentType


class SlideAttribute(io.ComfyNode):
    """Moves one code of a batch along a direction; the pair of codes is the edit that everyone else will follow."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSlideAttribute",
            display_name="Slide Attribute",
            category=menu_category("example"),
            description="Edits one example along an attribute direction: more smile, longer hair, another pose.",
            **search_aliases("slider", "smile", "age", "glasses", "turn head", "edit one face"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the codes."),
                GanLatentType.Input("latents", tooltip="The batch that the example is picked from."),
                EditDirectionType.Input("direction", tooltip="The attribute, from Load Direction."),
                io.Int.Input("index", default=0, min=0, max=1_000_000, tooltip="Which picture is the example, from 0."),
                io.Float.Input(
                    "amount",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    tooltip="How far to go, in lengths of the direction. Negative goes the other way.",
                ),
                io.String.Input(
                    "rows",
                    default="all",
                    tooltip="Layers to edit: all, coarse, middle, fine, or numbers such as 0-5.",
                ),
            ],
            outputs=[
                GanLatentType.Output("start", "start", tooltip="The example's code before the edit."),
                GanLatentType.Output("edited", "edited", tooltip="The example's code after the edit."),
                io.Image.Output("images", "images", tooltip="The example before and after."),
            ],
        )

    @classmethod
    def execute(
        cls, generator: GanGenerator, latents: GanLatent, direction: EditDirection, index: int, amount: float, rows: str
    ) -> io.NodeOutput:
        check_latent(generator, latents)
        generator.check_latent(direction.direction[None], direction.family, f"The direction '{direction.name}'")
        if index >= len(latents):
            raise InputError(f"index is {index}, but the batch has the pictures 0 to {len(latents) - 1}.")
        layers = None if rows.strip().lower() == "all" else parse_rows(rows, generator.num_layers)
        start = latents.codes[index : index + 1]
        edited = slide_attribute(start, direction, amount, layers)
        place(generator)
        with layer_progress(generator, 1, "drawing"):
            pictures = draw_states(generator, torch.cat([start, edited]))
        names = latents.names[index : index + 1]
        return io.NodeOutput(
            GanLatent(start, names, latents.family),
            GanLatent(edited, names, latents.family),
            to_image_batch(pictures),
        )
