"""Record Edit: what happened to the example, as a direction."""

from __future__ import annotations

from ...editing.common.rows import parse_rows
from ...editing.common.types import EditDirection, GanLatent
from ...editing.one_for_all.example_edit import record_edit, record_text_edit
from ...editing.text.edit import TextEdit
from ...host import io
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.latents import check_latent
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanGeneratorType, GanLatentType, TextEditType


class RecordEdit(io.ComfyNode):
    """Takes the example's code before, and its code after any edit or the text edit that changes it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditRecordEdit",
            display_name="Record Edit",
            category=menu_category("example"),
            description="Records what was done to one example, so that it can be done to every other picture.",
            **search_aliases("example edit", "before and after", "remember edit"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator of both codes."),
                GanLatentType.Input("start", tooltip="The example before the edit: one code."),
                io.String.Input(
                    "rows",
                    default="as edited",
                    tooltip="Layers to act on: as edited, all, coarse, middle, fine, or numbers such as 0-5.",
                ),
                io.String.Input("name", default="edit", tooltip="What to call the edit in reports and files."),
                GanLatentType.Input(
                    "edited",
                    optional=True,
                    tooltip="The example after the edit: one code. Or connect text_edit instead.",
                ),
                TextEditType.Input(
                    "text_edit",
                    optional=True,
                    tooltip="A text edit: what it does to the example at strength 1 is recorded.",
                ),
                EditDirectionType.Input(
                    "attribute",
                    optional=True,
                    tooltip="The direction the example was edited with, if it was fitted to scores: it then "
                    "measures the attribute.",
                ),
            ],
            outputs=[
                EditDirectionType.Output(
                    "edit", "edit", tooltip="The edit: its direction and the example's two states."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        start: GanLatent,
        rows: str,
        name: str,
        edited: GanLatent | None = None,
        text_edit: TextEdit | None = None,
        attribute: EditDirection | None = None,
    ) -> io.NodeOutput:
        if (edited is None) == (text_edit is None):
            connected = "Neither" if edited is None else "Both"
            raise InputError(f"{connected} of edited and text_edit came in; connect the one that says what was done.")
        for latent, title in ((start, "The start"), (edited, "The edited code")):
            if latent is None:
                continue
            check_latent(generator, latent, title)
            if len(latent) != 1:
                raise InputError(f"{title} holds {len(latent)} codes; pick the example with Select Latents first.")
        layers = None if rows.strip().lower() in ("", "as edited") else parse_rows(rows, generator.num_layers)
        name = name.strip() or "edit"
        if text_edit is not None:
            place(generator)  # a mapper looks at the example's code where the generator is
            return io.NodeOutput(record_text_edit(generator, start.codes, text_edit, layers, name, attribute))
        return io.NodeOutput(record_edit(generator, start.codes, edited.codes, layers, name, attribute))
