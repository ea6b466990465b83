"""Save Pair Edit: a slider to a file that ComfyUI's LoRA loader opens too."""

from __future__ import annotations

from ... import host
from ...editing.pair.edit import PairEdit
from ...host import io
from ...models.errors import InputError
from ...models.files.atomic import write_new
from ...models.files.pair_edit import write_pair_edit
from ..common.model_files import listed_name
from ..common.schema import menu_category, search_aliases
from ..common.sockets import PairEditType


class SavePairEdit(io.ComfyNode):
    """Writes a numbered .safetensors file; nothing is ever overwritten."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSavePairEdit",
            display_name="Save Pair Edit",
            category=menu_category("pair"),
            description="Saves a slider below output/semantic_edit/pair_edits, where Load Pair Edit finds it. The file "
            "is a LoRA: copied to models/loras, ComfyUI's Load LoRA opens it too, with one strength for all.",
            **search_aliases("keep slider", "save LoRA"),
            inputs=[
                PairEditType.Input("edit", tooltip="The slider to keep."),
                io.String.Input("name", default="pair_edit", tooltip="File name without ending; a/b makes a folder."),
                io.String.Input("notes", default="", optional=True, tooltip="Whatever else is worth keeping."),
            ],
            outputs=[io.String.Output("file", "file", tooltip="The name under which Load Pair Edit lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, edit: PairEdit, name: str, notes: str = "") -> io.NodeOutput:
        if not name.strip():
            raise InputError("The name is empty; give the edit a name such as 'glasses'.")
        path = host.current().save_path("pair_edits", name)
        provenance = {**edit.provenance, "method": "pair edit"} | ({"notes": notes} if notes else {})
        path = write_new(
            path,
            lambda path: write_pair_edit(path, edit.lora, edit.model, edit.states, provenance, exclusive=True),
        )
        listed = listed_name("pair_edits", path)
        return io.NodeOutput(listed, ui=host.ui.PreviewText(f"Saved {listed}"))
