"""Draw the pictures of workflows/, docs/ and web/docs/ anew, in an installed checkout: ``draw_pictures.py [NAME ...]``.

Each is made of what its own workflow gives, run headless as it is shipped; without names all are drawn. The help
pages have smaller copies. Run it after a demo checkpoint changed, and look at every one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageOps
from semantic_edit.editing.common.figures import INK, PAPER, as_picture, as_tensor, contact_sheet, font
from semantic_edit.headless.host.headless_host import HeadlessSettings, use_headless
from semantic_edit.headless.run.runner import Runner
from semantic_edit.headless.workflow.document import read_document
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
JPEG_QUALITY = 80
WIDTH, HEIGHT = 1024, 256  # pixels: no side is longer than the one, none shorter than the other
HELP_WIDTH = 520  # pixels of the help panel's pictures
TITLE = 17  # pixels of a title's letters
HELP_NAMES = {"imagic_demo": "imagic", "imagic_eta_sweep": "imagic_eta", "pair_edit_demo": "pair_edit"}


@dataclass(frozen=True)
class Row:
    """A row of pictures: an output of a node, those of its batch that are shown, and the words beside them."""

    node: str
    output: int = 0
    pictures: Sequence[int] | None = None  # None: all
    label: str = ""
    size: int | None = None  # pixels of a picture's longer side; None: that of the sheet


@dataclass(frozen=True)
class Sheet:
    """What a workflow's picture is made of: rows below each other, or with ``joined`` one row of all of them.

    Labels stand beside the rows, with ``titled`` above them. A template that needs what the pack does not bring shows
    ``workflow``, another one that does the same on the demo model, with ``settings`` of "node id.input". Where the node
    itself gives a sheet of eight columns before and after, ``columns`` are those that are shown.
    """

    rows: tuple[Row, ...]
    size: int | None = None  # pixels of a picture's longer side; None: as it is
    joined: bool = False
    titled: bool = False
    workflow: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    columns: Sequence[int] = ()


SIX, EIGHT = range(6), range(8)
SHOWN = (1, 2, 6, 7, 9, 10, 15)  # photos of whom nothing smears: painted faces, and no earrings
FIRST = (0, 1, 2, 3, 5, 6, 7)  # of the first eight, likewise
SHEETS = {
    "all_methods": Sheet((Row("2"), Row("14"), Row("22"), Row("27"), Row("38")), 200, joined=True),
    "batch_folder": Sheet((Row("8"),), columns=(0, 1, 3, 5, 6)),
    "check_a_generator": Sheet((Row("4"),), 900),
    "combine_edits": Sheet((Row("4", 0, SIX, "before"), Row("17", 0, SIX, "after"))),
    "copy_appearance": Sheet((Row("2"), Row("7"), Row("13")), 288, joined=True),
    "discover_directions": Sheet((Row("4", 1),)),
    "drag_one_edit_all": Sheet((Row("4", 1, EIGHT, "before"), Row("14", 0, EIGHT, "after"))),
    "edit_a_real_photo": Sheet((Row("2", label="photo"), Row("13", label="edited")), 220),
    "edit_in_a_full_photo": Sheet((Row("1"), Row("13")), 560, joined=True),
    "edit_your_own_folder": Sheet(
        (Row("2", 0, FIRST, "photo"), Row("3:6", 0, FIRST, "edited")), settings={"2.limit": 8}
    ),
    "edit_one_for_all": Sheet(
        (Row("2", 0, SHOWN, "photo"), Row("4", 1, SHOWN, "inverted"), Row("13", 0, SHOWN, "edited"))
    ),
    "generate_and_blend": Sheet((Row("4"), Row("9"), Row("12"))),
    "hold_a_state_in_a_clip": Sheet(
        (
            Row("4", 0, EIGHT, "the clip, frame by frame"),
            Row("19", 0, EIGHT, "its mouth held at one state, strengths steadied over time"),
            Row("14", 3, size=760),
        ),
        titled=True,
    ),
    "imagic": Sheet(
        (Row("2"), Row("10")),
        336,
        joined=True,
        workflow="imagic_demo",
        settings={"2.photo": "chen", "4.text": "a person with blond hair", "8.etas": "0, 0.8"},
    ),
    "imagic_batch": Sheet((Row("2", label="photo"), Row("8", label="blond")), 200),
    "imagic_demo": Sheet((Row("2"), Row("10")), 336, joined=True, settings={"8.etas": "0, 0.8"}),
    "imagic_eta_sweep": Sheet((Row("8"),)),
    "localize_a_direction": Sheet((Row("6", label="before"), Row("12", label="smile"))),
    "one_state_any_editor": Sheet(
        (
            Row("2", label="photos", size=200),
            Row("10", 0, range(3, 6), "one strength for all (denoise 0.6)", 200),
            Row("20", label="a strength for each: equally light hair; the first is lighter, and named", size=200),
            Row("21", 1, size=760),
        ),
        titled=True,
    ),
    "one_state_for_a_folder": Sheet(
        (
            Row("7", 2, label="one example, before and after its edit", size=200),
            Row("5", 1, label="all, as the generator draws them", size=200),
            Row("12", label="everyone at the example's state, each by its own strength", size=200),
            Row("12", 3, size=760),
        ),
        titled=True,
        settings={"2.limit": 4},
    ),
    "one_state_imagic": Sheet(
        (
            Row("2", label="photos", size=200),
            Row("11", 0, None, "an eta for each: hair equally light; the third gets as near as it can, and is named",
                200),
            Row("11", 2, size=760),
        ),
        titled=True,
    ),
    "pair_edit": Sheet((Row("11", 0, (2,)), Row("14", 0, (2,))), 384, joined=True, workflow="pair_edit_demo"),
    "pair_edit_demo": Sheet((Row("11", label="photo"), Row("14", label="glasses"))),
    "pair_edit_folder": Sheet((Row("11"), Row("14")), workflow="pair_edit_demo"),
    "paint_a_photo": Sheet((Row("2"), Row("14")), 288, joined=True),
    "remove_an_object": Sheet((Row("2"), Row("10")), 288, joined=True),
    "slider_animation": Sheet((Row("8", 0, (0, 8)),), 512),
    "text_edit_for_all": Sheet((Row("6", label="before"), Row("18", label="equal"), Row("16", label="one state"))),
    "text_edit_refine": Sheet((Row("6"), Row("12"), Row("15"), Row("26"), Row("23"))),
    "text_edit_regions": Sheet((Row("6", 0, SIX), Row("12", 0, SIX), Row("17"))),
}  # fmt: skip


def main() -> None:
    """Draw those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of a workflow: {', '.join(SHEETS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "workflows")
    parser.add_argument("--help-pages", dest="help", type=Path, default=ROOT / "web" / "docs")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(SHEETS))
    if unknown:
        parser.error(f"no picture is described for {', '.join(unknown)}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or SHEETS:
        with tempfile.TemporaryDirectory() as folder:
            workflow = ROOT / "workflows" / f"{SHEETS[name].workflow or name}.json"
            picture = draw(SHEETS[name], workflow, Path(folder))
        image = as_picture(picture).convert("RGB")
        image.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
        image = ImageOps.pad(image, (image.width, max(HEIGHT, image.height)), color=PAPER)
        save(image, options.out / f"{name}.jpg")
        copy = options.help / f"{HELP_NAMES.get(name, name)}.jpg"
        if copy.is_file() and not SHEETS[name].workflow:
            image.thumbnail((HELP_WIDTH, HELP_WIDTH), Image.Resampling.LANCZOS)
            save(image, copy)


def save(image: Image.Image, path: Path) -> None:
    """Write a JPEG file."""
    image.save(path, quality=JPEG_QUALITY, optimize=True, progressive=True)
    sys.stdout.write(f"{path} {image.width} x {image.height}\n")


def draw(sheet: Sheet, workflow: Path, folder: Path) -> Tensor:
    """Run a workflow with its results in a folder, and lay out its sheet ``[H, W, 3]`` in 0..1."""
    runner = Runner(use_headless(HeadlessSettings(output=folder)))
    prompt = runner.prepare(read_document(workflow))
    for name, setting in sheet.settings.items():
        node, _, key = name.partition(".")
        prompt.nodes[node]["inputs"][key] = setting
    values = runner.run(prompt).values
    rows = [pictures_of(values[row.node][row.output], row, row.size or sheet.size) for row in sheet.rows]
    if sheet.columns:
        return columns_of(rows[0][0], sheet.columns)
    if sheet.titled:
        return left_aligned(
            [titled(contact_sheet([row]), spec.label) for row, spec in zip(rows, sheet.rows, strict=True)]
        )
    if sheet.joined:
        return contact_sheet([[picture for row in rows for picture in row]])
    labels = [row.label for row in sheet.rows if row.label]
    if len({row[0].shape for row in rows}) == 1:
        return contact_sheet(rows, labels)
    return stacked([contact_sheet([row]) for row in rows])


def stacked(sheets: list[Tensor]) -> Tensor:
    """Lay pictures ``[H, W, 3]`` below each other, in the middle of white."""
    width = max(sheet.shape[1] for sheet in sheets)
    return torch.cat([F.pad(sheet, _margins(width - sheet.shape[1]), value=1.0) for sheet in sheets])


def columns_of(sheet: Tensor, columns: Sequence[int], count: int = 8) -> Tensor:
    """Take columns and the labels out of a contact sheet ``[H, W, 3]`` of two rows of ``count`` square pictures."""
    pitch = (sheet.shape[0] - 4) // 2
    left = sheet.shape[1] - count * pitch
    pieces = [sheet[:, left + k * pitch : left + (k + 1) * pitch] for k in columns]
    return torch.cat([sheet[:, :left], *pieces], dim=1)


def left_aligned(sheets: list[Tensor]) -> Tensor:
    """Lay pictures ``[H, W, 3]`` below each other, at the left of white."""
    width = max(sheet.shape[1] for sheet in sheets)
    return torch.cat([F.pad(sheet, (0, 0, 0, width - sheet.shape[1]), value=1.0) for sheet in sheets])


def titled(sheet: Tensor, title: str) -> Tensor:
    """Write a title above a picture ``[H, W, 3]`` that is widened where the title is longer."""
    if not title:
        return sheet
    letters = font(TITLE)
    strip = Image.new("RGB", (max(sheet.shape[1], int(letters.getlength(title)) + 12), TITLE + 10), PAPER)
    ImageDraw.Draw(strip).text((6, TITLE / 2 + 6), title, fill=INK, font=letters, anchor="lm")
    return left_aligned([as_tensor(strip), sheet])


def _margins(missing: int) -> tuple[int, ...]:
    return (0, 0, missing // 2, missing - missing // 2)


def pictures_of(batches: list[Tensor], row: Row, size: int | None) -> list[Tensor]:
    """Return the pictures ``[H, W, 3]`` of a row, enlarged or reduced to ``size``."""
    pictures = [picture for batch in batches for picture in batch]
    return [fitted(pictures[index], size) for index in row.pictures or range(len(pictures))]


def fitted(picture: Tensor, size: int | None) -> Tensor:
    """Resize ``[H, W, 3]`` to ``size`` pixels at its longer side."""
    if size is None:
        return picture
    scale = size / max(picture.shape[:2])
    batch = picture.movedim(-1, 0)[None]
    shape = [round(side * scale) for side in picture.shape[:2]]
    resized = F.interpolate(batch, shape, mode="bicubic", antialias=scale < 1, align_corners=False)
    return resized[0].movedim(0, -1).clamp(0, 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
