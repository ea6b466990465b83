"""Parts From Masks: masks of any segmenter become part labels."""

from __future__ import annotations

import torch

from ...editing.common.lists import typed_list
from ...editing.text.feature_parts import parts_from_masks
from ...editing.text.figures import part_colours
from ...host import io
from ...models.errors import InputError
from ..common.images import to_image_batch
from ..common.schema import menu_category, search_aliases
from ..common.sockets import PartLabelsType

_MASK_COUNT = 8


class PartsFromMasks(io.ComfyNode):
    """One MASK per part, from whatever the user has installed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        optional_masks = [
            io.Mask.Input(f"mask_{k}", optional=True, tooltip=f"Where part {k} is, one mask per picture.")
            for k in range(2, _MASK_COUNT + 1)
        ]
        return io.Schema(
            node_id="SemanticEditPartsFromMasks",
            display_name="Parts From Masks",
            category=menu_category("text"),
            description="Turns masks of any segmenter into part labels, for text edits and for dissection.",
            **search_aliases("segment", "SAM", "masks to parts"),
            inputs=[
                io.Mask.Input("mask_1", tooltip="Where part 1 is, one mask per picture."),
                io.String.Input(
                    "names",
                    default="part 1",
                    tooltip="The parts' names with commas between, in the order of the connected masks.",
                ),
                *optional_masks,
            ],
            outputs=[
                PartLabelsType.Output("parts", "parts", tooltip="The named parts, and 'everything else' for the rest."),
                io.Image.Output("preview", "preview", tooltip="The parts in colours."),
            ],
        )

    @classmethod
    def execute(cls, mask_1: torch.Tensor, names: str, **optional_masks: torch.Tensor | None) -> io.NodeOutput:
        others = [optional_masks.get(f"mask_{k}") for k in range(2, _MASK_COUNT + 1)]
        masks = [mask_1, *(mask for mask in others if mask is not None)]
        part_names = typed_list(names)
        if len(part_names) != len(masks):
            raise InputError(
                f"names lists {len(part_names)} parts ({', '.join(part_names) or 'none'}), {len(masks)} masks are "
                "connected; give one name each."
            )
        parts = parts_from_masks(masks, part_names)
        return io.NodeOutput(parts, to_image_batch(part_colours(parts)))
