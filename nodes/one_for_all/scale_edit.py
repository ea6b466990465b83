"""Scale Edit: more of an edit, less of it, or its opposite."""

from __future__ import annotations

from ...editing.common.types import EditDirection
from ...editing.one_for_all.scale import scale_edit
from ...host import io
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType


class ScaleEdit(io.ComfyNode):
    """Changes where an edit leads; its start, its rows and what it measures stay."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditScaleEdit",
            display_name="Scale Edit",
            category=menu_category("batch"),
            description="Makes an edit go further or less far, or turns it into its opposite.",
            **search_aliases("more or less", "invert edit", "opposite", "negative slider"),
            inputs=[
                EditDirectionType.Input("edit", tooltip="The edit to change."),
                io.Float.Input(
                    "factor",
                    default=1.0,
                    min=-20.0,
                    max=20.0,
                    step=0.05,
                    tooltip="2 goes twice as far from the same start, 0.5 half as far. Negative does the opposite.",
                ),
                io.Boolean.Input(
                    "invert",
                    default=False,
                    tooltip="Do the opposite: less smile instead of more; a negative factor.",
                ),
                io.String.Input("name", default="", tooltip="What to call the new edit; empty says it by the factor."),
            ],
            outputs=[EditDirectionType.Output("scaled", "scaled", tooltip="The new edit; the old one stays as it is.")],
        )

    @classmethod
    def execute(cls, edit: EditDirection, factor: float, invert: bool, name: str) -> io.NodeOutput:
        return io.NodeOutput(scale_edit(edit, -factor if invert else factor, name.strip()))
