"""Probe Strengths: every picture at a few strengths, as lists for any editor."""

from __future__ import annotations

from torch import Tensor

from ...editing.common.pictures import check_pictures
from ...host import io
from ..common.schema import menu_category, search_aliases
from ..common.typed_numbers import typed_numbers


class ProbeStrengths(io.ComfyNode):
    """ComfyUI runs a node once for each entry of the lists at its inputs; so any editor draws all of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditProbeStrengths",
            display_name="Probe Strengths",
            category=menu_category("state"),
            description="Lists every picture at a few strengths, so that any editor with a number for its strength "
            "draws them all; Plan Strengths reads what came out.",
            **search_aliases("float list", "image list", "batch to list", "strength per picture", "XY plot"),
            inputs=[
                io.Image.Input("pictures", tooltip="The pictures before the edit, one batch."),
                io.String.Input(
                    "strengths",
                    default="0, 0.5, 1",
                    tooltip="Two or more strengths of the editor, such as '0, 0.5, 1': of a LoRA, a slider, a denoise.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images",
                    "images",
                    is_output_list=True,
                    tooltip="A list of single pictures, for the editor: all at the first strength, then all at the "
                    "second.",
                ),
                io.Float.Output(
                    "strengths_list",
                    "strengths",
                    is_output_list=True,
                    tooltip="The strength of each of them, for the editor and for Plan Strengths.",
                ),
                io.Float.Output(
                    "each",
                    "each",
                    is_output_list=True,
                    tooltip="The strengths once each: for an editor that draws the whole batch at one strength.",
                ),
                io.Int.Output(
                    "index",
                    "index",
                    is_output_list=True,
                    tooltip="Which picture of the batch each one is, from 0, for editors that need more of it.",
                ),
            ],
        )

    @classmethod
    def execute(cls, pictures: Tensor, strengths: str) -> io.NodeOutput:
        check_pictures(pictures)
        levels = typed_numbers(strengths, "strengths")
        singles = list(pictures.split(1))
        return io.NodeOutput(
            singles * len(levels),
            [level for level in levels for _ in singles],
            levels,
            list(range(len(singles))) * len(levels),
        )
