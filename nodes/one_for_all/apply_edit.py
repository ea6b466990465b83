"""Apply Edit: move every code by its own strength."""

from __future__ import annotations

from ...editing.common.types import EditDirection, EditStrength, GanLatent, check_family
from ...editing.one_for_all.closed_form import apply_edit
from ...host import io
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, EditStrengthType, GanLatentType


class ApplyEdit(io.ComfyNode):
    """Adds alpha times the direction on the edited rows; Generate Images draws the result."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditApplyEdit",
            display_name="Apply Edit",
            category=menu_category("batch"),
            description="Moves every picture's code along the direction by its own strength.",
            **search_aliases("edit all", "batch edit", "smile", "make them smile"),
            inputs=[
                GanLatentType.Input("latents", tooltip="The batch to edit."),
                EditDirectionType.Input("direction", tooltip="The edit, from Optimize Direction."),
                EditStrengthType.Input("strength", tooltip="How far each picture moves, from Compute Strength."),
            ],
            outputs=[
                GanLatentType.Output("edited", "edited", tooltip="The edited codes, with the names of the originals.")
            ],
        )

    @classmethod
    def execute(cls, latents: GanLatent, direction: EditDirection, strength: EditStrength) -> io.NodeOutput:
        check_family(direction.family, latents.family, f"The direction '{direction.name}'", "the latents")
        check_family(direction.family, strength.family, f"The direction '{direction.name}'", "the strength")
        return io.NodeOutput(
            GanLatent(apply_edit(latents.codes, direction, strength.alpha), latents.names, latents.family)
        )
