"""Save Adaptation: keep what a generator learned about photos."""

from __future__ import annotations

from ... import host
from ...host import io
from ...models.errors import InputError
from ...models.files.adaptation import write_adaptation
from ...models.files.atomic import write_new
from ...models.gan.adaptation import Adaptation
from ...models.gan.generator import GanGenerator
from ..common.model_files import listed_name
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType


class SaveAdaptation(io.ComfyNode):
    """Writes a numbered .safetensors file without the generator itself; nothing is ever overwritten."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditSaveAdaptation",
            display_name="Save Adaptation",
            category=menu_category("photos"),
            description="Saves what an adapted generator learned about photos, with their codes, below "
            "output/semantic_edit/adaptations, where Load Adaptation finds it.",
            **search_aliases("keep adaptation", "PTI"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="An adapted generator, from Adapt Generator."),
                io.String.Input("name", default="photo", tooltip="File name without ending; a/b makes a folder."),
            ],
            outputs=[io.String.Output("file", "file", "The name under which Load Adaptation lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, generator: GanGenerator, name: str) -> io.NodeOutput:
        if not isinstance(generator.adaptation, Adaptation):
            raise InputError(
                f"The generator '{generator.name}' is not adapted to any photo, so there is nothing to save. Connect "
                "the output of Adapt Generator."
            )
        path = host.current().save_path("adaptations", name)
        provenance = {"generator": generator.name}
        path = write_new(path, lambda path: write_adaptation(path, generator.adaptation, provenance, exclusive=True))
        listed = listed_name("adaptations", path)
        return io.NodeOutput(listed, ui=host.ui.PreviewText(f"Saved {listed}"))
