"""Load Segmenter: a face parser that says where parts are, for Dissect Concepts."""

from __future__ import annotations

from ...host import io
from ...host.registry import segmenter_files
from ...models.segmenters.files import load_segmenter
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import SegmenterType


class LoadSegmenter(io.ComfyNode):
    """BiSeNet as face-parsing.PyTorch trains it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadSegmenter",
            display_name="Load Segmenter",
            category=menu_category("paint"),
            description="Loads a face parser (BiSeNet) from models/semantic_edit/segmenters, for Dissect Concepts. "
            "Convert Checkpoint makes it of 79999_iter.pth.",
            **search_aliases("BiSeNet", "face parsing", "79999_iter", "segmentation"),
            inputs=[file_input("segmenters", "file", "A face parser from models/semantic_edit/segmenters.")],
            outputs=[SegmenterType.Output("segmenter", "segmenter", "Gives a soft mask for each part of a portrait.")],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        return model_file_fingerprint("segmenters", file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        path = model_file("segmenters", file)
        readers = (segmenter_files.create(name) for name in segmenter_files.names())
        other = next((segmenter for read in readers if (segmenter := read(path)) is not None), None)
        return io.NodeOutput(load_segmenter(path) if other is None else other)
