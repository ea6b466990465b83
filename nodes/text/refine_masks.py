"""Refine Masks: change by hand where and at which layers a text edit acts, without training again."""

from __future__ import annotations

import torch

from ...editing.common.lists import typed_list
from ...editing.common.rows import parse_rows
from ...editing.text.edit import TextEdit
from ...editing.text.refine import refine
from ...host import io
from ..common.schema import menu_category, search_aliases, shows_its_result
from ..common.sockets import TextEditType
from ..common.widget_data import edit_payload, ui_payload


class RefineMasks(io.ComfyNode):
    """Rows, parts, threshold and regions of an edit, by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditRefineMasks",
            display_name="Refine Masks",
            category=menu_category("text"),
            description="Changes by hand where a text edit acts: rows, parts, threshold, and regions to add or to cut. "
            "Nothing is trained again.",
            **search_aliases("edit mask", "correct mask", "brush"),
            **shows_its_result(),
            inputs=[
                TextEditType.Input("text_edit", tooltip="The edit to change; it stays as it is itself."),
                io.String.Input(
                    "rows",
                    default="as trained",
                    tooltip="Layers that may still change: as trained, all, coarse, middle, fine, or 0-5.",
                ),
                io.String.Input(
                    "drop_parts", default="", tooltip="Parts that shall not change, with commas between; empty: none."
                ),
                io.Float.Input(
                    "threshold",
                    default=-0.05,
                    min=-0.05,
                    max=0.95,
                    step=0.05,
                    tooltip="Masks fainter than this are cut off. Below 0: as trained.",
                ),
                io.Mask.Input(
                    "only_here", optional=True, tooltip="1 where the edit may show; everywhere else it is cut off."
                ),
                io.Mask.Input(
                    "also_here", optional=True, tooltip="1 where the edit shows in full, whatever it has learned."
                ),
            ],
            outputs=[
                TextEditType.Output("refined_edit", "refined_edit", tooltip="The changed edit, for Apply Text Edit."),
                io.String.Output("report", "report", tooltip="What is left of rows and parts."),
            ],
        )

    @classmethod
    def execute(
        cls,
        text_edit: TextEdit,
        rows: str,
        drop_parts: str,
        threshold: float,
        only_here: torch.Tensor | None = None,
        also_here: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        layers = None if rows.strip().lower() in ("", "as trained") else parse_rows(rows, len(text_edit.offset))
        smallest = None if threshold < 0 else threshold
        edit = refine(text_edit, layers, typed_list(drop_parts), smallest, only_here, also_here)
        acting = ", ".join(edit.acting_parts()) or (
            "no parts: everywhere or by attention" if not edit.parts else "no part"
        )
        payload = ui_payload(cls, edit=edit_payload(text_edit))
        report = f"rows {', '.join(map(str, edit.rows))}; {acting}; threshold {edit.threshold:g}"
        return io.NodeOutput(edit, report, ui=payload)
