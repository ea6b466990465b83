"""Load Pair Edit: a slider from a file."""

from __future__ import annotations

from ...editing.pair.edit import PairEdit
from ...host import io
from ...models.files.pair_edit import read_pair_edit
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import PairEditType


class LoadPairEdit(io.ComfyNode):
    """A slider as it was saved, here or elsewhere."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadPairEdit",
            display_name="Load Pair Edit",
            category=menu_category("pair"),
            description="Loads a slider that Save Pair Edit has kept, for Apply Pair Edit on the same model.",
            **search_aliases("open slider", "load LoRA"),
            inputs=[
                file_input("pair_edits", "file", "A slider from models/semantic_edit/pair_edits or saved earlier.")
            ],
            outputs=[
                PairEditType.Output("edit", "edit", tooltip="The slider, for Apply Pair Edit."),
                io.LoraModel.Output("lora", "lora", tooltip="The slider as a plain LoRA, of one strength for all."),
                io.String.Output("report", "report", tooltip="What was learned, and a warning where it is too little."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("pair_edits", file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        edit = PairEdit(**read_pair_edit(model_file("pair_edits", file)))
        return io.NodeOutput(edit, dict(edit.lora), edit.report())
