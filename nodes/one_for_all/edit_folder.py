"""Edit Folder: one edit for every picture of a folder, however large."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from ... import host
from ...editing.common.types import EditDirection, GanLatent, check_family
from ...editing.one_for_all.strength_modes import MODES
from ...editing.one_for_all.transfer import Transfer
from ...editing.state import StateReader
from ...host import io, no_inference_mode, ui
from ...host.registry import photo_folders
from ...jobs import FolderJob, run_job
from ...jobs.frozen import read_frozen, thaw_with
from ...jobs.listing import picture_names
from ...jobs.manifest import MANIFEST_NAME
from ...jobs.preview import free_output_folder, job_sheet
from ...jobs.state_transfer import StateTransfer
from ...models.encoders.encoder import load_encoder
from ...models.errors import InputError, check_choice
from ...models.files.picture_reader import FITS
from ...models.gan.generator import GanGenerator
from ..common.devices import place
from ..common.feature_space import network_of_score
from ..common.folders import BACKGROUNDS, background_colour, input_folder, input_folders
from ..common.model_files import file_fingerprint, model_file, model_file_fingerprint
from ..common.progress import progress_for
from ..common.schema import menu_category, search_aliases, with_advanced
from ..common.sockets import EditDirectionType, GanGeneratorType, GanLatentType, StateReaderType
from ._frozen_jobs import save_job

_NO_ENCODER = _NO_JOB = "none"


class EditFolder(io.ComfyNode):
    """Streams a folder through encoder, strength and synthesis; what is finished stays finished."""

    @classmethod
    @with_advanced("limit", "chunk", "keep_codes", "background")
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditEditFolder",
            display_name="Edit Folder",
            category=menu_category("batch"),
            description="Edits every picture of a folder, a few at a time: thousands of pictures in flat memory, and "
            "after a stop or a crash it goes on where it was.",
            **search_aliases("batch folder", "directory", "process all photos", "thousands of pictures"),
            inputs=[
                GanGeneratorType.Input("generator", tooltip="The generator that draws the pictures."),
                EditDirectionType.Input("direction", tooltip="The edit that all pictures shall follow."),
                io.Combo.Input(
                    "folder",
                    options=[*photo_folders.names(), *input_folders()],
                    tooltip="A folder below ComfyUI's input folder, or the photos that come with the pack.",
                ),
                io.String.Input(
                    "name",
                    default="batch",
                    tooltip="Results go to output/semantic_edit/batches/NAME. The same name and settings go on there; "
                    "other settings get a folder of their own.",
                ),
                io.Combo.Input(
                    "encoder",
                    options=[*host.current().list_models("encoders"), _NO_ENCODER],
                    tooltip="An encoder trained for this generator. none: codes are found by inversion alone.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=10_000,
                    tooltip="Inversion steps after the encoder: closer to the pictures, and far slower. 0: none.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="1: the example's state after its edit. 0: before it. Above 1: further.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    tooltip="same state: each picture moves as far as it needs. constant: all move equally far. "
                    "number: each picture reaches 'target'.",
                ),
                io.Float.Input(
                    "target",
                    default=0.0,
                    min=-10.0,
                    max=10.0,
                    step=0.1,
                    tooltip="For mode 'number': the state to reach, in standard deviations from the average picture.",
                ),
                io.Float.Input(
                    "limit",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="The farthest any picture may move, in lengths of the direction. 0: no limit.",
                ),
                io.Int.Input(
                    "corrections",
                    default=0,
                    min=0,
                    max=8,
                    tooltip="Draw, measure and adjust each picture so often before its strength is final: 1 lands "
                    "closer, for twice the time. 0: the formula alone.",
                ),
                io.Combo.Input(
                    "fit",
                    options=list(FITS),
                    tooltip="How other shapes are fitted: crop fills and cuts, pad adds a border, stretch distorts.",
                ),
                io.Combo.Input(
                    "background",
                    options=list(BACKGROUNDS),
                    tooltip="The colour behind transparent pixels and in the border of 'pad'.",
                ),
                io.Int.Input(
                    "chunk",
                    default=0,
                    min=0,
                    max=10_000,
                    tooltip="Pictures in memory at a time. 0 chooses by size. Results do not depend on it.",
                ),
                io.Int.Input(
                    "most",
                    display_name="max pictures",
                    default=0,
                    min=0,
                    max=100_000_000,
                    tooltip="Finish at most so many pictures, and go on at the next queue. 0: all of them.",
                ),
                io.Boolean.Input(
                    "keep_codes", default=False, tooltip="Also save each picture's code before the edit, as a file."
                ),
                GanLatentType.Input(
                    "reference",
                    optional=True,
                    tooltip="One code whose state is the target, instead of the edited example's.",
                ),
                io.Combo.Input(
                    "job",
                    options=[_NO_JOB, *host.current().list_models("jobs")],
                    optional=True,
                    tooltip="A frozen job, from an earlier run or semantic-edit plan: its edit and settings count "
                    "instead of those here. Generator and encoder must be its own.",
                ),
                StateReaderType.Input(
                    "reader",
                    optional=True,
                    tooltip="What reads pictures, such as Read From Example: each picture is drawn, read and corrected "
                    "until it shows 'state'.",
                ),
                io.Float.Input(
                    "state",
                    default=0.0,
                    min=-1e6,
                    max=1e6,
                    step=0.01,
                    optional=True,
                    tooltip="With a reader: the number that all pictures shall show. 0 with a reader that was made "
                    "from an example: that of the example after its edit.",
                ),
            ],
            outputs=[
                io.Image.Output("sheet", "sheet", tooltip="A few of the pictures, before and after."),
                io.String.Output("report", "report", tooltip="How many were edited, left out or held back, and why."),
                io.String.Output("results", "results", tooltip="The folder with the pictures and manifest.jsonl."),
            ],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(
        cls, folder: str = "", name: str | None = "", encoder: str = "", job: str | None = "", **_: object
    ) -> str | float:
        if name is None:
            return float("nan")  # it comes by a wire, so what is finished cannot be seen yet
        digest = hashlib.sha256(os.fsencode(model_file_fingerprint("encoders", encoder)))
        if job not in ("", None, _NO_JOB):
            digest.update(os.fsencode(model_file_fingerprint("jobs", job)))
        try:
            source = _source(folder)
            names = picture_names(source)
            output = _output(name)
        except (InputError, OSError):
            return ""
        for picture in names:
            digest.update(os.fsencode(file_fingerprint(source / picture)))
        # With 'most', the same inputs have more to do, as where somebody removed a result: what is finished counts too.
        for manifest in sorted(output.parent.glob(f"*/{MANIFEST_NAME}")):
            if manifest.parent.name.startswith(output.name):
                state = f"{manifest} {manifest.stat().st_size} {manifest.parent.stat().st_mtime_ns}"
                digest.update(os.fsencode(state))
        return digest.hexdigest()

    @classmethod
    def execute(
        cls,
        generator: GanGenerator,
        direction: EditDirection,
        folder: str,
        name: str,
        encoder: str,
        steps: int,
        strength: float,
        mode: str,
        target: float,
        limit: float,
        corrections: int,
        fit: str,
        background: str,
        chunk: int,
        most: int,
        keep_codes: bool,
        reference: GanLatent | None = None,
        job: str = _NO_JOB,
        reader: StateReader | None = None,
        state: float = 0.0,
    ) -> io.NodeOutput:
        check_choice("mode", mode, MODES)
        check_choice("fit", fit, FITS)
        output = _output(name)
        source, colour = _source(folder), background_colour(background)
        network = None if encoder == _NO_ENCODER else load_encoder(model_file("encoders", encoder))
        place(generator, network, network_of_score(direction) if corrections else None)
        code = None
        if reference is not None:
            check_family(direction.family, reference.family, f"The direction '{direction.name}'", "the reference")
            code = reference.codes
        with no_inference_mode():
            if job != _NO_JOB:
                frozen = read_frozen(model_file("jobs", job))
                transfer = thaw_with(frozen, generator, network)
                fit, colour, keep_codes = frozen.fit, frozen.background, frozen.keep_codes
            else:
                settings = (
                    generator, direction, network, strength, mode, target, code, limit or None, steps, corrections,
                )  # fmt: skip
                transfer = _transfer(settings, reader, state)
        work = FolderJob(source, output, transfer, fit, colour, chunk, most, keep_codes)
        work = replace(work, output=free_output_folder(output, work.settings))
        report = str(run_job(work, progress_for(0, "editing the folder")))
        if work.output != output:
            report = f"Other settings than before: these results have a folder of their own, {work.output}.\n{report}"
        if job == _NO_JOB:
            report = f"{report}\n{save_job(work, encoder, name)}"
        if direction.note and mode == MODES[0] and reference is None and job == _NO_JOB:
            report = f"{report}\n{direction.note}"
        sheet = job_sheet(work)[None].to(host.current().result_device())
        payload = ui.PreviewImage(sheet, cls=cls).as_dict() | ui.PreviewText(report).as_dict()
        return io.NodeOutput(sheet, report, str(work.output), ui=payload)


def _transfer(settings: tuple, reader: StateReader | None, state: float) -> Transfer:
    """Return the edit: by the formula, or by a reader until its first number is the state."""

    def stop(*_: object) -> None:
        host.current().check_interrupt()

    if reader is None:
        return Transfer(*settings, progress=stop)
    reader = reader.select(reader.names[:1])
    if state == 0 and reader.target is not None:
        state = float(reader.target[0])
    return StateTransfer(*settings, progress=stop, reader=reader, state=state)


def _source(folder: str) -> Path:
    """Return the folder of the pictures: one that came with a pack, or one below ComfyUI's input."""
    return photo_folders.create(folder) if folder in photo_folders.names() else input_folder(folder)


def _output(name: str) -> Path:
    """Return the folder of the results, as named; other settings get one beside it."""
    return host.current().output_directory() / "semantic_edit" / "batches" / host.safe_name(name)
