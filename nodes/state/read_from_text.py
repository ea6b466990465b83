"""Read From Text: how well pictures fit one sentence rather than another."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...editing.state import reader_from_sentence
from ...host import io
from ..common.devices import place_all
from ..common.images import from_image_batch
from ..common.schema import menu_category, search_aliases
from ..common.sockets import StateReaderType, TextImageScorerType


class ReadFromText(io.ComfyNode):
    """The directional CLIP score as a reader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditReadFromText",
            display_name="Read From Text",
            category=menu_category("state"),
            description="Reads how well a picture fits one sentence rather than another, by a text-image scorer.",
            **search_aliases("CLIP score", "prompt score", "zero-shot"),
            inputs=[
                TextImageScorerType.Input("scorer", tooltip="An open_clip model from Load Text Image Scorer."),
                io.String.Input(
                    "prompt", default="a smiling person", tooltip="What is read: the more of it, the larger the number."
                ),
                io.String.Input(
                    "source", default="a person", tooltip="The opposite, or what the pictures show without it."
                ),
                io.Image.Input(
                    "pictures", optional=True, tooltip="Pictures as they will be read: the reader's noise is measured."
                ),
            ],
            outputs=[
                StateReaderType.Output("reader", "reader", tooltip="For Plan Strengths, Reach State and Measure State.")
            ],
        )

    @classmethod
    def execute(cls, scorer: Any, prompt: str, source: str, pictures: Tensor | None = None) -> io.NodeOutput:
        others = None if pictures is None else from_image_batch(pictures)
        return io.NodeOutput(reader_from_sentence(scorer, prompt, source, others, lambda: place_all(scorer)))
