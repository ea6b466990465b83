"""Load Text Edit: a text edit from a file."""

from __future__ import annotations

from ...editing.text.edit import TextEdit, check_edit_fits
from ...host import io
from ...models.errors import about_file
from ...models.files.text_edit import read_text_edit
from ...models.gan.generator import GanGenerator
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, TextEditType


class LoadTextEdit(io.ComfyNode):
    """A saved edit, checked against the generator it shall edit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadTextEdit",
            display_name="Load Text Edit",
            category=menu_category("text"),
            description="Loads a text edit that Save Text Edit has kept.",
            **search_aliases("open text edit", "StyleCLIP"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that the edit shall change."),
                file_input("text_edits", "file", "A text edit from models/semantic_edit/text_edits or saved earlier."),
            ],
            outputs=[
                TextEditType.Output("text_edit", "text_edit", tooltip="For Apply Text Edit."),
                io.String.Output("prompt", "prompt", tooltip="The sentence it was trained for."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("text_edits", file)

    @classmethod
    def execute(cls, generator: GanGenerator, file: str) -> io.NodeOutput:
        path = model_file("text_edits", file)
        with about_file(path):
            edit = TextEdit(**read_text_edit(path))
        check_edit_fits(edit, generator)
        return io.NodeOutput(edit, edit.prompt)
