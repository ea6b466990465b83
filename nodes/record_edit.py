"""Record Edit: what happened to the example, as a direction."""

from __future__ import annotations

from ..editing.record import record_edit
from ..editing.rows import parse_rows
from ..editing.types import EditDirection, GanLatent
from ..host import io
from ..models.errors import InputError
from ._common import CATEGORY, EditDirectionType, GanGeneratorType, GanLatentType, check_latent


class RecordEdit(io.ComfyNode):
    """Takes the example's codes before and after any edit: dragged, slid, described, or two given codes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditRecordEdit",
            display_name="Record Edit",
            category=CATEGORY("example"),
            description="Records what was done to one example, so that it can be done to every other picture.",
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of both codes."),
                GanLatentType.Input("start", tooltip="The example before the edit: one code."),
                GanLatentType.Input("edited", tooltip="The example after the edit: one code."),
                io.String.Input(
                    "rows",
                    default="as edited",
                    tooltip="Rows of W+ to act on: as edited, all, coarse, middle, fine, or numbers such as 0-5.",
                ),
                io.String.Input("name", default="edit", tooltip="What to call the edit in reports and files."),
                EditDirectionType.Input(
                    "attribute",
                    optional=True,
                    tooltip="The direction the example was edited with, if it was fitted to scores: its normal then "
                    "measures the attribute.",
                ),
            ],
            outputs=[EditDirectionType.Output("edit", tooltip="The edit: its direction and the example's two states.")],
        )

    @classmethod
    def execute(
        cls,
        generator,
        start: GanLatent,
        edited: GanLatent,
        rows: str,
        name: str,
        attribute: EditDirection | None = None,
    ) -> io.NodeOutput:
        for latent, what in ((start, "The start"), (edited, "The edited code")):
            check_latent(generator, latent, what)
            if len(latent) != 1:
                raise InputError(f"{what} holds {len(latent)} codes; pick the example with Select Latents first.")
        wanted = rows.strip().lower()
        layers = None if wanted in ("", "as edited") else parse_rows(rows, generator.num_layers)
        name = name.strip() or "edit"
        return io.NodeOutput(record_edit(generator, start.codes, edited.codes, layers, name, attribute))
