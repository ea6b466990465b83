"""Region Layer Masks: the regions that a text edit changes at each layer."""

from __future__ import annotations

import torch

from ...editing.common.part_labels import PartLabels
from ...editing.common.types import GanLatent
from ...editing.text.apply import row_masks_in_chunks
from ...editing.text.edit import TextEdit
from ...editing.text.figures import region_layer_chart, row_mask_sheet
from ...host import current, io
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import effective_mask
from ..common.devices import place
from ..common.latents import check_latent
from ..common.progress import layer_progress
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, GanLatentType, PartLabelsType, TextEditType
from ..common.widget_data import layers_payload, ui_payload


class RegionLayerMasks(io.ComfyNode):
    """The region and layer selection that a text edit has learned, as a chart and on a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditRegionLayerMasks",
            display_name="Region Layer Masks",
            category=menu_category("text"),
            description="Shows which regions a text edit changes at which layers: a chart, and each layer's mask on a "
            "picture.",
            **search_aliases("where does it act", "show regions", "layers"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of the edit."),
                GanLatentType.Input("latents", tooltip="Pictures to show the masks on."),
                TextEditType.Input("text_edit", tooltip="The edit to look into."),
                io.Int.Input("index", default=0, min=0, max=100_000, tooltip="Which picture of the batch to show."),
                PartLabelsType.Input("parts", optional=True, tooltip="Part labels of these latents."),
            ],
            outputs=[
                io.Image.Output(
                    "chart",
                    "chart",
                    tooltip="How far each part of the picture takes part at each layer of the generator.",
                ),
                io.Image.Output(
                    "layers", "layers", tooltip="The picture once per row, dark where the row changes nothing."
                ),
                io.Mask.Output("mask", "mask", tooltip="Where the pictures can change at all, at any layer."),
            ],
            is_output_node=True,  # it shows the masks itself
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        latents: GanLatent,
        text_edit: TextEdit,
        index: int,
        parts: PartLabels | None = None,
    ) -> io.NodeOutput:
        check_latent(generator, latents)
        if index >= len(latents):
            raise InputError(f"index is {index}, but there are {len(latents)} pictures; count from 0.")
        place(generator)
        with layer_progress(generator, 1, "drawing the masks"):
            masks = row_masks_in_chunks(text_edit, generator, latents.codes, parts)
        effective = effective_mask(masks, generator.resolution)[:, 0].expand(len(latents), -1, -1)
        effective = effective.to(current().result_device())
        shares = torch.tensor([[0.0 if mask is None else float(mask.mean()) for mask in masks]])
        row_masks = [None if mask is None else mask[index if len(mask) > 1 else 0][None] for mask in masks]
        picture = generator.synthesize(latents.codes[index : index + 1])[0].cpu()
        chart = region_layer_chart(text_edit, shares)
        payload = ui_payload(cls, *layers_payload(text_edit, picture, row_masks, parts, index))
        return io.NodeOutput(chart[None], row_mask_sheet(picture, row_masks)[None], effective, ui=payload)
