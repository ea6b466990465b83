"""Part Mask: a labelled part as a mask to paint with."""

from __future__ import annotations

from ...editing.common.lists import typed_list
from ...editing.common.part_labels import PartLabels
from ...editing.paint.blending import dilated
from ...host import current, io
from ...models.errors import InputError
from ..common.schema import menu_category, search_aliases
from ..common.sockets import PartLabelsType


class PartMask(io.ComfyNode):
    """One or several parts, joined and grown."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditPartMask",
            display_name="Part Mask",
            category=menu_category("paint"),
            description="Turns labelled parts of pictures, such as hair or glasses, into a mask to paint with.",
            **search_aliases("hair mask", "face mask", "segment"),
            inputs=[
                PartLabelsType.Input("parts", tooltip="Part labels, from Demo Parts or any other segmenter."),
                io.String.Input("names", default="hair", tooltip="One part or several, separated by commas."),
                io.Int.Input(
                    "grow", default=0, min=0, max=512, tooltip="Pixels by which the mask grows, as wide as a stroke."
                ),
            ],
            outputs=[io.Mask.Output("mask", "mask", tooltip="1 where the parts are, one mask for each picture.")],
        )

    @classmethod
    def execute(cls, parts: PartLabels, names: str, grow: int) -> io.NodeOutput:
        part_names = typed_list(names)
        if not part_names:
            raise InputError(f"names is empty; these parts are labelled: {', '.join(parts.names)}.")
        mask = sum(parts.part(name) for name in dict.fromkeys(part_names)).clamp(0, 1)
        return io.NodeOutput(dilated(mask[:, None], grow)[:, 0].to(current().result_device()))
