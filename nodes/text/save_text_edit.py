"""Save Text Edit: a text edit to a file."""

from __future__ import annotations

import re

from ... import host
from ...editing.text.edit import TextEdit
from ...host import io
from ...models.files.atomic import write_new
from ...models.files.text_edit import write_text_edit
from ..common.model_files import listed_name
from ..common.schema import menu_category, search_aliases
from ..common.sockets import TextEditType

_LONGEST = 120  # bytes of a name
_NO_NAME = re.compile(r'[<>:"|?*/\\\x00-\x1f]+')  # what some system refuses in a name, and what would make a folder


class SaveTextEdit(io.ComfyNode):
    """A trained edit to a file of a few kB to MB."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSaveTextEdit",
            display_name="Save Text Edit",
            category=menu_category("text"),
            description="Saves a text edit below output/semantic_edit/text_edits, where Load Text Edit "
            "finds it. Nothing is ever overwritten.",
            **search_aliases("keep text edit", "StyleCLIP"),
            inputs=[
                TextEditType.Input("text_edit", tooltip="The edit to keep."),
                io.String.Input("name", default="", tooltip="File name without number; empty: the sentence."),
            ],
            outputs=[io.String.Output("file", "file", tooltip="The name under which Load Text Edit lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, text_edit: TextEdit, name: str) -> io.NodeOutput:
        path = host.current().save_path("text_edits", name.strip() or _file_name(text_edit.prompt))
        provenance = {"source": text_edit.source, "method": text_edit.method}
        path = write_new(path, lambda path: write_text_edit(path, vars(text_edit), provenance, exclusive=True))
        listed = listed_name("text_edits", path)
        return io.NodeOutput(listed, ui=host.ui.PreviewText(f"Saved {listed}"))


def _file_name(sentence: str) -> str:
    """Make a file name of a sentence: an edit that took long to learn is not lost over a question mark."""
    plain = " ".join(_NO_NAME.sub(" ", sentence).split()).lstrip(".~ ")
    return plain.encode()[:_LONGEST].decode(errors="ignore").strip() or "text edit"
