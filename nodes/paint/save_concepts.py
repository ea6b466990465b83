"""Save Concepts: keep a dissection, which takes minutes, as a small file."""

from __future__ import annotations

from ... import host
from ...editing.paint.concepts import ConceptUnits
from ...host import io
from ...models.files.atomic import write_new
from ...models.files.concepts import STEPS, TENSORS, write_concepts
from ..common.model_files import listed_name
from ..common.schema import menu_category, search_aliases
from ..common.sockets import ConceptUnitsType


class SaveConcepts(io.ComfyNode):
    """Writes a numbered .safetensors file; nothing is ever overwritten."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSaveConcepts",
            display_name="Save Concepts",
            category=menu_category("paint"),
            description="Saves dissected concepts below output/semantic_edit/concepts, where Load Concepts finds them.",
            **search_aliases("keep concepts", "units"),
            inputs=[
                ConceptUnitsType.Input("concepts", tooltip="The dissection to keep."),
                io.String.Input("name", default="concepts", tooltip="File name without ending; a/b makes a folder."),
            ],
            outputs=[io.String.Output("file", "file", tooltip="The name under which Load Concepts lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, concepts: ConceptUnits, name: str) -> io.NodeOutput:
        path = host.current().save_path("concepts", name)
        tensors = {field: getattr(concepts, field) for field in (*TENSORS, *STEPS)}
        names, family = concepts.names, concepts.family
        path = write_new(
            path, lambda path: write_concepts(path, tensors, concepts.layer, names, family, exclusive=True)
        )
        listed = listed_name("concepts", path)
        return io.NodeOutput(listed, ui=host.ui.PreviewText(f"Saved {listed}"))
