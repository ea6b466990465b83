"""Direction From Codes: two codes, pairs of codes, or two groups as an edit."""

from __future__ import annotations

from ...editing.common.rows import parse_rows
from ...editing.common.types import GanLatent
from ...editing.one_for_all.supervised import direction_from_codes
from ...host import io
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanLatentType


class DirectionFromCodes(io.ComfyNode):
    """The difference of means; of single codes it is what Record Edit gives, without a generator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditDirectionFromCodes",
            display_name="Direction From Codes",
            category=menu_category("example"),
            description="Makes an edit of two given codes, of several edited pairs, or of two groups.",
            **search_aliases("difference of two pictures", "before and after to slider"),
            inputs=[
                GanLatentType.Input("before", tooltip="One code, or several: where the edit starts."),
                GanLatentType.Input("after", tooltip="One code, or several: where it leads. Pairs in the same order."),
                io.String.Input(
                    "rows",
                    default="as changed",
                    tooltip="Layers to act on: as changed, all, coarse, middle, fine, or numbers such as 0-5.",
                ),
                io.String.Input("name", default="edit", tooltip="What to call the edit in reports and files."),
            ],
            outputs=[
                EditDirectionType.Output("edit", "edit", tooltip="The edit, with the two means as its example."),
                io.String.Output(
                    "report", "report", tooltip="Rows, length, and how alike the differences of pairs are."
                ),
            ],
        )

    @classmethod
    def execute(cls, before: GanLatent, after: GanLatent, rows: str, name: str) -> io.NodeOutput:
        as_changed = rows.strip().lower() in ("", "as changed")
        layers = None if as_changed else parse_rows(rows, before.num_layers)
        return io.NodeOutput(*direction_from_codes(before, after, layers, name.strip() or "edit"))
