"""Load Concepts: a dissection from a file."""

from __future__ import annotations

from ...editing.paint.concepts import ConceptUnits
from ...editing.paint.strokes import check_concepts
from ...host import io
from ...models.errors import about_file
from ...models.files.concepts import read_concepts
from ...models.gan.generator import GanGenerator
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import ConceptUnitsType, GanGeneratorType


class LoadConcepts(io.ComfyNode):
    """Reads saved and shipped concepts; the generator says what they have to fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadConcepts",
            display_name="Load Concepts",
            category=menu_category("paint"),
            description="Loads dissected concepts: those of the demo generator, or saved by Save Concepts.",
            **search_aliases("open concepts", "units"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that shall be painted with."),
                file_input("concepts", "file", "A file from models/semantic_edit/concepts or saved earlier."),
            ],
            outputs=[
                ConceptUnitsType.Output("concepts", "concepts", tooltip="For Paint Concept."),
                io.String.Output("report", "report", tooltip="The concepts there are, with their strongest units."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("concepts", file)

    @classmethod
    def execute(cls, generator: GanGenerator, file: str) -> io.NodeOutput:
        path = model_file("concepts", file)
        with about_file(path):
            concepts = ConceptUnits(**read_concepts(path))
        check_concepts(generator, concepts)
        return io.NodeOutput(concepts, concepts.report())
