"""Measure Portraits: factors of demo portraits, read by the oracle."""

from __future__ import annotations

import json

import torch

from ...demo.chart import measurement_chart
from ...demo.measure import identity, measure
from ...host import current, io
from ...models.errors import InputError
from ..common.images import from_image_batch
from ..common.schema import menu_category, search_aliases


class MeasurePortraits(io.ComfyNode):
    """A grade for edits: the oracle was trained apart, and nothing is ever optimised against it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditMeasurePortraits",
            display_name="Measure Portraits",
            category=menu_category("demo"),
            description="Reads yaw, smile, hair length and the other factors from demo portraits, as a chart and as "
            "numbers.",
            **search_aliases("measure smile", "head pose", "attributes of a face"),
            inputs=[
                io.Image.Input("images", tooltip="Portraits from the demo generator or the demo photos."),
                io.Image.Input(
                    "before",
                    optional=True,
                    tooltip="The same portraits before an edit: the chart then shows both, the spread, and whether "
                    "each is still the same person.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "chart", "chart", tooltip="One row per factor: every picture's value, mean and spread."
                ),
                io.String.Output(
                    "measured", "measured", tooltip="A JSON table: factor names to one value per picture."
                ),
            ],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, before: torch.Tensor | None = None) -> io.NodeOutput:
        pictures = from_image_batch(images, "cpu")
        values = measure(pictures)
        table = {name: [round(value, 5) for value in column.tolist()] for name, column in values.items()}
        values_before, note = None, ""
        if before is not None:
            originals = from_image_batch(before, "cpu")
            if len(originals) != len(pictures):
                raise InputError(
                    f"There are {len(pictures)} pictures and {len(originals)} before the edit; connect the same."
                )
            values_before = measure(originals)
            similarity = (identity(pictures) * identity(originals)).sum(1)
            table["identity"] = [round(value, 5) for value in similarity.tolist()]
            note = f"; same person: {float(similarity.mean()):.2f}"
        chart = measurement_chart(values, values_before, note)
        return io.NodeOutput(chart[None].to(current().result_device()), json.dumps(table))
