"""Select Latents: some codes of a batch."""

from __future__ import annotations

from ...editing.common.latents import select
from ...editing.common.rows import parse_indices
from ...editing.common.types import GanLatent
from ...host import io
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanLatentType


class SelectLatents(io.ComfyNode):
    """Codes of a batch by index, in any order."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSelectLatents",
            display_name="Select Latents",
            category=menu_category("generator"),
            description="Takes some codes out of a batch, in any order; a code may be taken more than once.",
            **search_aliases("pick pictures", "choose from batch"),
            inputs=[
                GanLatentType.Input("latents", tooltip="The codes to choose from."),
                io.String.Input(
                    "indices",
                    default="0",
                    tooltip="Which codes, counted from 0: single ones and ranges with commas between, such as "
                    "'0, 2-5, -1'. -1 is the last; 'all' takes every one.",
                ),
            ],
            outputs=[
                GanLatentType.Output("selected", "latents", "The chosen codes, in the order you typed."),
            ],
        )

    @classmethod
    def execute(cls, latents: GanLatent, indices: str) -> io.NodeOutput:
        return io.NodeOutput(select(latents, parse_indices(indices, len(latents))))
