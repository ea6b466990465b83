"""List Directions: the library of edits, as a table and a sheet of thumbnails."""

from __future__ import annotations

from pathlib import Path

from ... import host
from ...editing.one_for_all.library import library_sheet, library_table, misfit_reason
from ...host import io, ui
from ...models.errors import InputError
from ...models.files.direction import DirectionSummary, read_thumbnail, summarize_direction
from ...models.gan.generator import GanGenerator
from ...models.printable import printable_logger
from ..common.model_files import file_fingerprint
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType

log = printable_logger(__name__)


class ListDirections(io.ComfyNode):
    """Everything that Load Direction offers: saved, put into the models folder, and shipped."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditListDirections",
            display_name="List Directions",
            category=menu_category("batch"),
            description="Lists every direction there is, with its rows, family, origin and thumbnail.",
            **search_aliases("library of edits", "sliders", "show directions"),
            inputs=[
                io.String.Input(
                    "contains", default="", tooltip="Only files and names with this text in them; empty lists all."
                ),
                io.Boolean.Input(
                    "fitting_only", default=False, tooltip="Leave out what does not fit the connected generator."
                ),
                GanGeneratorType.Input(
                    "generator", optional=True, tooltip="The list then says which directions fit this generator."
                ),
            ],
            outputs=[
                io.String.Output(
                    "report", "report", tooltip="One line per direction: name, rows, origin, family, notes."
                ),
                io.Image.Output("sheet", "sheet", tooltip="The thumbnails with their names."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> str:
        return "\n".join(file_fingerprint(path) for path in _files().values())

    @classmethod
    def execute(cls, contains: str, fitting_only: bool, generator: GanGenerator | None = None) -> io.NodeOutput:
        if fitting_only and generator is None:
            raise InputError("fitting_only needs a generator to compare with: connect one, or switch it off.")
        pattern = contains.strip().lower()
        entries, cells = [], []
        for file, path in _files().items():
            summary = _summary(path)
            unknown = isinstance(summary, str)
            if pattern and pattern not in file.lower() and (unknown or pattern not in summary.name.lower()):
                continue
            if fitting_only and (unknown or misfit_reason(summary, generator)):
                continue
            entries.append((file, summary))
            title = file.removesuffix(host.MODEL_SUFFIX)
            cells.append((title, "cannot be used" if unknown else summary.method, read_thumbnail(path)))
        if not entries:
            raise InputError(
                "No direction matches. Save one with Save Direction, or put .safetensors files into "
                f"{host.current().model_folders('directions')[0]}."
            )
        report, sheet = library_table(entries, generator), library_sheet(cells)[None]
        payload = ui.PreviewImage(sheet, cls=cls).as_dict() | ui.PreviewText(report).as_dict()
        return io.NodeOutput(report, sheet.to(host.current().result_device()), ui=payload)


def _summary(path: Path) -> DirectionSummary | str:
    """Return what a file holds, or why it cannot be read; whatever one file does, the others are listed."""
    try:
        return summarize_direction(path)
    except InputError as problem:
        return str(problem)
    except Exception as problem:
        log.warning("%s cannot be read.", path, exc_info=True)
        return f"{path.name} cannot be read ({type(problem).__name__}); it is damaged, or another kind of file."


def _files() -> dict[str, Path]:
    """Return every direction's file by its name in the lists; the first folder that has it wins, as at loading."""
    backend = host.current()
    folders = backend.model_folders("directions")
    files = {}
    for name in backend.list_models("directions"):
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None:  # it may have been removed since the list was made
            files[name] = path
    return files
