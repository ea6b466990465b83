"""Load Image Folder: all pictures of one input folder as a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ... import host
from ...editing.photos.alignment import FRAMINGS
from ...editing.photos.face_crops import crop_face
from ...host import io
from ...host.face_detector import build_detector
from ...host.registry import photo_folders
from ...models.errors import InputError, check_choice
from ...models.files.picture_batch import Crop, read_pictures
from ...models.files.picture_formats import FORMAT_NAMES, describe_passed_over, split_names
from ...models.files.picture_reader import FITS
from ...models.gan.generator import GanGenerator
from ...models.printable import printable, printable_logger
from ..common.folders import BACKGROUNDS, background_colour, input_folder, input_folders
from ..common.model_files import file_fingerprint
from ..common.schema import menu_category, search_aliases, shows_its_result
from ..common.sockets import FaceDetectionType, GanGeneratorType
from ..common.widget_data import ui_payload

log = printable_logger(__name__)
ALIGNED = "aligned"


class LoadImageFolder(io.ComfyNode):
    """Reads a folder below ComfyUI's input; the folder is chosen from a list, never typed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadImageFolder",
            display_name="Load Image Folder",
            category=menu_category("photos"),
            description="Loads all pictures of a folder below the input folder as one batch, brought to one size.",
            **search_aliases("load images", "directory", "batch load", "own photos"),
            **shows_its_result(),
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=[*input_folders(), *photo_folders.names()],
                    tooltip="A folder below ComfyUI's input folder, or the photos that come with the pack. New folders "
                    "appear after a refresh (r).",
                ),
                io.Combo.Input(
                    "fit",
                    options=[*FITS, ALIGNED],
                    tooltip="How other sizes are fitted: crop fills and cuts, pad adds a border, stretch distorts. "
                    "aligned: the largest face, upright and as large as the generator knows faces.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=8192,
                    tooltip="Width in pixels. 0: the generator's, or the first picture's without a generator.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=8192,
                    tooltip="Height in pixels. 0: the generator's, or the first picture's without a generator.",
                ),
                io.Combo.Input(
                    "background",
                    options=list(BACKGROUNDS),
                    tooltip="The colour behind transparent pixels and in the border of 'pad'.",
                ),
                io.Int.Input(
                    "first", default=0, min=0, max=1_000_000, tooltip="How many files to leave out at the start."
                ),
                io.Int.Input(
                    "limit", default=0, min=0, max=1_000_000, tooltip="The most pictures to load. 0 loads them all."
                ),
                GanGeneratorType.Input(
                    "generator",
                    optional=True,
                    tooltip="The pictures get this generator's size where width and height are 0.",
                ),
                FaceDetectionType.Input(
                    "face_detector",
                    optional=True,
                    tooltip="For 'aligned': ComfyUI's Load Face Detection Model (MediaPipe); newer versions have it.",
                ),
                io.Combo.Input(
                    "framing",
                    options=list(FRAMINGS),
                    optional=True,
                    tooltip="For 'aligned': how the generator's training pictures hold a face. ffhq: most face models.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "images", "images", tooltip="The pictures as one batch, in natural order of their names."
                ),
                io.Mask.Output("masks", "masks", tooltip="1 where a picture is transparent or was padded."),
                io.String.Output("names", "names", tooltip="The file names, one a line, in the order of the batch."),
                io.String.Output(
                    "report",
                    "report",
                    tooltip="How many were loaded, and which files were left out or passed over and why.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str, first: int = 0, limit: int = 0, **_: object) -> str:
        try:
            files, _ = _files(folder, first, limit)
        except InputError:
            return ""
        return "\n".join(file_fingerprint(file) for file in files)

    @classmethod
    def execute(
        cls,
        folder: str,
        fit: str,
        width: int,
        height: int,
        background: str,
        first: int,
        limit: int,
        generator: GanGenerator | None = None,
        face_detector: Any = None,
        framing: str = next(iter(FRAMINGS)),
    ) -> io.NodeOutput:
        colour = background_colour(background)
        if (width == 0) != (height == 0):
            raise InputError(f"Give both width and height, or neither; got {width} x {height}.")
        size = (height, width) if width else (generator.resolution if generator is not None else None)
        check_choice("fit", fit, (*FITS, ALIGNED))
        crop = _face_crop(size, face_detector, framing) if fit == ALIGNED else None
        files, other_names = _files(folder, first, limit)
        passed_over = describe_passed_over(other_names)
        if not files:
            raise InputError(
                f"The folder '{folder}' holds no pictures{f' after the first {first}' if first else ''}. "
                f"Put files of {FORMAT_NAMES} into it, or choose another folder.{passed_over and ' '}{passed_over}"
            )
        batch = read_pictures(files, size, FITS[0] if crop else fit, colour, crop)
        for sentence in batch.skipped:
            log.warning("Left out %s", printable(sentence))
        sentences = [f"{len(batch.names)} of {len(files)} pictures loaded.", *batch.skipped, *batch.notes, passed_over]
        report = "\n".join(printable(sentence) for sentence in sentences if sentence)
        device = host.current().result_device()
        images, masks = batch.images.to(device), batch.masks.to(device)
        left_out = [printable(sentence) for sentence in batch.skipped]
        payload = ui_payload(cls, left_out=left_out, passed_over=printable(passed_over)) | {"text": [report]}
        return io.NodeOutput(images, masks, "\n".join(batch.names), report, ui=payload)


def _face_crop(size: tuple[int, int] | None, model: Any, framing: str) -> Crop:
    """Return what cuts the largest face out of each picture.

    Raises:
        InputError: no size, no face detector, or an unknown framing.
    """
    check_choice("framing", framing, FRAMINGS)
    if size is None:
        raise InputError("fit is 'aligned', which needs a size: connect a generator, or give width and height.")
    if model is None:
        raise InputError(
            "fit is 'aligned', which needs a face detector: connect ComfyUI's Load Face Detection Model (MediaPipe) to "
            "'face_detector'. Where ComfyUI is older than that, choose crop or pad, or cut faces with Align Crop."
        )
    detect = build_detector(model)

    def crop(colours: torch.Tensor, opacity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, str]:
        host.current().check_interrupt()
        face, inside, is_face = crop_face(colours, opacity, detect, size, framing)
        return face, inside, "" if is_face else "no whole face was found, and its middle was taken"

    return crop


def _files(folder: str, first: int, limit: int) -> tuple[list[Path], list[str]]:
    """Return the picture files to load, in natural order of their names, and the names of the folder's other files."""
    source = photo_folders.create(folder) if folder in photo_folders.names() else input_folder(folder)
    names, other_names = split_names(file.name for file in source.iterdir() if file.is_file())
    chosen = names[first : first + limit] if limit else names[first:]
    return [source / name for name in chosen], other_names
