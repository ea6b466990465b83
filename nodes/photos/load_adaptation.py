"""Load Adaptation: a generator that knows photos from an earlier day."""

from __future__ import annotations

from ...editing.common.types import GanLatent
from ...host import io
from ...models.files.adaptation import read_adaptation
from ...models.gan.adaptation import with_adaptation
from ...models.gan.generator import GanGenerator
from ...models.printable import printable_logger
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, GanLatentType

log = printable_logger(__name__)


class LoadAdaptation(io.ComfyNode):
    """The file holds the changes and the codes alone; the generator it was made with is needed too."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadAdaptation",
            display_name="Load Adaptation",
            category=menu_category("photos"),
            description="Loads what Save Adaptation kept, and puts it on the generator that it was made with.",
            **search_aliases("open adaptation", "PTI"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator, or one of the same family and size."),
                file_input("adaptations", "file", "Saved adaptations, from output/semantic_edit/adaptations."),
            ],
            outputs=[
                GanGeneratorType.Output("adapted", "adapted", "The generator, adapted to the photos of the file."),
                GanLatentType.Output("latents", "latents", "The codes of the photos, ready to be edited."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("adaptations", file)

    @classmethod
    def execute(cls, generator: GanGenerator, file: str) -> io.NodeOutput:
        adaptation = read_adaptation(model_file("adaptations", file))
        adapted = with_adaptation(generator, adaptation)
        if not adaptation.family:
            log.warning("%s names no generator family; its shapes fit and it is used as it is.", file)
        codes = adaptation.codes.to(generator.device)
        return io.NodeOutput(adapted, GanLatent(codes, adaptation.names, generator.family))
