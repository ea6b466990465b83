"""Save Direction: keep an edit for later batches."""

from __future__ import annotations

from .. import host
from ..editing.types import EditDirection
from ..host import io
from ..models.direction_file import write_direction
from ._common import CATEGORY, EditDirectionType


class SaveDirection(io.ComfyNode):
    """Writes a numbered .safetensors file; nothing is ever overwritten."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSaveDirection",
            display_name="Save Direction",
            category=CATEGORY("batch"),
            description="Saves an edit below output/semantic_edit/directions, where Load Direction finds it.",
            inputs=[
                EditDirectionType.Input("direction", tooltip="The edit to keep."),
                io.String.Input("name", default="edit", tooltip="File name without ending; a/b makes a folder."),
            ],
            outputs=[io.String.Output("file", tooltip="The name under which Load Direction lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, direction: EditDirection, name: str) -> io.NodeOutput:
        path = host.current().save_path("directions", name)
        write_direction(
            path,
            direction.direction,
            direction.normal,
            direction.layers,
            direction.start,
            direction.offset,
            direction.method,
            direction.family,
            direction.name,
            direction.example,
        )
        listed = path.relative_to(host.current().output_directory() / "semantic_edit" / "directions").as_posix()
        return io.NodeOutput(listed, ui=host.ui.PreviewText(f"Saved {listed}"))
