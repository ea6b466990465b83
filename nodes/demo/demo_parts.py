"""Demo Parts: where hair, eyes, mouth, glasses and so on are in pictures of demo portraits."""

from __future__ import annotations

import torch

from ...demo.parts import PART_COLOURS, PART_METHODS, colour_parts, find_parts
from ...demo.portraits.scene import PART_NAMES
from ...editing.common.part_labels import PartLabels
from ...host import current, io
from ...models.errors import check_choice
from ..common.images import from_image_batch, to_image_batch
from ..common.schema import menu_category, search_aliases
from ..common.sockets import PartLabelsType


class DemoParts(io.ComfyNode):
    """Part labels for portraits of the demo world, whoever painted them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        legend = ", ".join(f"{name} {colour}" for name, (colour, _) in PART_COLOURS.items())
        return io.Schema(
            node_id="SemanticEditDemoParts",
            display_name="Demo Parts",
            category=menu_category("demo"),
            description="Labels the parts of demo portraits: background, clothes, hair, skin, eyes, mouth, glasses, "
            "hat and brows.",
            **search_aliases("segment face", "hair mask", "face parsing"),
            inputs=[
                io.Image.Input("images", tooltip="Portraits from the demo generator or the demo photos."),
                io.Combo.Input(
                    "method",
                    options=list(PART_METHODS),
                    tooltip="'network' looks at every pixel and works on photos too. 'redraw' reads the portrait's "
                    "factors and labels a fresh drawing of them: crisp edges, blind to what a drawing cannot show.",
                ),
            ],
            outputs=[
                PartLabelsType.Output("parts", "parts", tooltip="A soft mask for each part of each picture."),
                io.Image.Output("preview", "preview", tooltip=f"The parts in colours: {legend}."),
            ],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, method: str) -> io.NodeOutput:
        check_choice("method", method, PART_METHODS)
        masks = find_parts(from_image_batch(images, "cpu"), method)
        preview = to_image_batch(colour_parts(masks))
        return io.NodeOutput(PartLabels(masks.to(current().result_device()), PART_NAMES), preview)
