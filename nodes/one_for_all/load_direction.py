"""Load Direction: an edit from a file."""

from __future__ import annotations

from ...editing.common.rows import parse_rows
from ...editing.one_for_all.attributes import fit_to_generator, with_average_example
from ...host import io
from ...models.files.direction import read_direction
from ...models.gan.generator import GanGenerator
from ...models.printable import printable_logger
from ..common.model_files import file_input, model_file, model_file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import EditDirectionType, GanGeneratorType

log = printable_logger(__name__)


class LoadDirection(io.ComfyNode):
    """Reads saved and converted directions; the generator says what they have to fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadDirection",
            display_name="Load Direction",
            category=menu_category("batch"),
            description="Loads an edit direction: saved by Save Direction, shipped, or converted from another project. "
            "Its library shows every edit there is, with its picture.",
            **search_aliases("slider", "smile", "age", "glasses", "turn head", "edit library"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that the direction shall edit."),
                file_input("directions", "file", "A file from models/semantic_edit/directions or saved earlier."),
                io.String.Input(
                    "rows",
                    default="as saved",
                    tooltip="Layers to act on: as saved, all, coarse, middle, fine, or numbers such as 0-5.",
                ),
            ],
            outputs=[
                EditDirectionType.Output("direction", "direction", tooltip="The direction, fitted to the generator.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: object) -> str:
        return model_file_fingerprint("directions", file)

    @classmethod
    def execute(cls, generator: GanGenerator, file: str, rows: str) -> io.NodeOutput:
        path = model_file("directions", file)
        fields = read_direction(path)
        layers = None if rows.strip().lower() in ("", "as saved") else parse_rows(rows, generator.num_layers)
        if not fields["family"]:
            log.warning("%s names no generator family; its shape fits and it is used as it is.", file)
        edit = with_average_example(generator, fit_to_generator(generator, **fields, rows=layers))
        if edit.note:
            log.info("%s", edit.note)
        return io.NodeOutput(edit)
