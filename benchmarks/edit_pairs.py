"""An edit benchmark in the form of TEdBench: a folder of photos and sentences, edited every way, with scores.

TEdBench itself (imagic-editing.github.io, folder tedbench) is such a folder:

    originals/          the photos
    input_list.json     [{"img_name": "dog.png", "target_text": "A photo of a sitting dog."}, ...]

A third key, "source_text", may say what the photo shows now; DDIB, the joint form and the scorer profit from it, and
--source stands in where it is missing. Photos are cut to squares of the model's own size, or of --size.

Written into --out: scores.json and scores.csv (a row for each pair, way and place on the way's axis: the scorer's
cosine with the sentence where a scorer is given, the perceptual distance from the photo, CPU seconds, whether the
scorer chose it), every picture, and sheet.png: photo, then a column a way, at the chosen place, else in the middle.
What is there already is not edited again, so that a run can be stopped and goes on.

python benchmarks/edit_pairs.py FOLDER --model DIFFUSERS_FOLDER [--methods imagic joint sdedit ddib]
    [--scorer OPEN_CLIP] [--peer imagic_stable_diffusion.py] [--out edit_pairs] [--pairs N] [--size PX]
    [--source "a photo"] [--device cuda] [--set tuning.steps=50 sampling.cfg=7.5 ...]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from _edit_methods import METHODS, Edits, Task, Workshop, distance_from, settings_from
from _harness import machine_facts, say, table
from PIL import Image
from semantic_edit.editing.common.figures import as_picture, contact_sheet
from semantic_edit.models.errors import InputError
from semantic_edit.models.files.atomic import atomic_write
from semantic_edit.models.files.picture_reader import PictureError, read_picture
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.printable import write_line
from semantic_edit.models.scorers.scorer import TextImageScorer, load_scorer
from torch import Tensor

LIST, PHOTOS = "input_list.json", "originals"
COLUMNS = ("image", "target", "way", "place", "chosen", "score", "distance", "learning", "painting", "picture")
PEER = "peer"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--methods", nargs="*", default=["imagic", "joint", "sdedit", "ddib"], choices=METHODS)
    parser.add_argument("--scorer", type=Path)
    parser.add_argument("--peer", type=Path, help="diffusers' examples/community/imagic_stable_diffusion.py")
    parser.add_argument("--out", type=Path, default=Path("edit_pairs"))
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--source", default="a photo")
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args(arguments)
    allow_declaring()
    try:
        run(options)
    except InputError as error:
        write_line(sys.stderr, str(error))
        return 2
    return 0


def run(options: argparse.Namespace) -> None:
    """Edit all pairs all ways.

    Raises:
        InputError: a folder, model, scorer or setting that cannot be used.
    """
    entries = read_pairs(options.folder)[: options.pairs]
    scorer = None if options.scorer is None else load_scorer(options.scorer, options.device)
    workshop = Workshop(options.model, scorer, device=options.device, **settings_from(options.set))
    peer = None
    if options.peer is not None:
        from _imagic_peer import Peer  # needs accelerate

        if not options.peer.is_file():
            raise InputError(f"There is no file {options.peer}; --peer names the community pipeline's file.")
        peer = Peer(options.peer, options.model, options.device)
    done = Scores(options.out)
    ways = [*options.methods, *([PEER] if peer else [])]
    for entry in entries:
        task = Task(
            entry["img_name"], read_photo(options.folder, entry["img_name"], options.size or workshop.side),
            entry["target_text"], entry.get("source_text") or options.source,
        )  # fmt: skip
        for way in ways:
            if not done.has(task, way):
                edits = peer.edit(task) if way == PEER else workshop.edit(way, task)
                done.add(task, way, edits, scorer)
                say(f"{task.name} | {task.target} | {way}: {edits.learning + edits.painting:.1f} s")
    done.close(ways)
    say(f"\n{done.table(ways)}\n\n{machine_facts()}")


def read_pairs(folder: Path) -> list[dict[str, str]]:
    """The pairs of a folder, as `input_list.json` has them; photos are looked for, not read.

    Raises:
        InputError: no such folder or list, a list of another form, a name that leads outside, photos that are missing.
    """
    path = folder / LIST
    if not path.is_file():
        raise InputError(f"There is no {LIST} in {folder}; expected TEdBench's form: {PHOTOS}/ and {LIST} beside it.")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} holds no pairs; expected a list of objects with img_name and target_text.")
    for number, entry in enumerate(entries, start=1):
        problem = _problem(entry, folder)
        if problem:
            raise InputError(f"Pair {number} of {path} {problem}.")
    return entries


def _problem(entry: Any, folder: Path) -> str:
    """What is wrong with one pair, or nothing."""
    if not isinstance(entry, dict):
        return f"is {type(entry).__name__}; expected an object with img_name and target_text"
    for key in ("img_name", "target_text"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            return f"has no {key}"
    if not isinstance(entry.get("source_text", ""), str):
        return "has a source_text that is no text"
    name = entry["img_name"]
    if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name:
        return f"names a photo outside of {PHOTOS}: '{name}'"
    if not (folder / PHOTOS / name).is_file():
        return f"names a photo that is not in {PHOTOS}: '{name}'"
    return ""


def read_photo(folder: Path, name: str, side: int) -> Tensor:
    """A photo [1, side, side, 3] in 0..1, cut to a square.

    Raises:
        InputError: not a picture, or too small a side.
    """
    if side < 16:
        raise InputError(f"The size is {side}; expected 16 pixels or more.")
    try:
        colours, _ = read_picture(folder / PHOTOS / name, (side, side))
    except PictureError as error:
        raise InputError(f"The photo '{name}' cannot be read: {error}") from None
    return colours[None]


class Scores:
    """What was measured, in scores.json from pair to pair, and the pictures beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "scores.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = (
            json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else []
        )

    def has(self, task: Task, way: str) -> bool:
        """Whether this pair was edited this way."""
        return any((row["image"], row["target"], row["way"]) == (task.name, task.target, way) for row in self.rows)

    def add(self, task: Task, way: str, edits: Edits, scorer: TextImageScorer | None) -> None:
        """Keep the pictures and their figures, on the disk at once."""
        distances, scores = distance_from(task.photo, edits.pictures), [None] * len(edits.places)
        if scorer is not None:
            with torch.no_grad():
                found = scorer.encode_images(edits.pictures.movedim(-1, 1) * 2 - 1)
            scores = (found @ scorer.encode_text([task.target])[0].to(found)).tolist()
        stem = _stem(task)
        as_picture(task.photo[0]).save(self.folder / f"{stem}.png")
        for k, place in enumerate(edits.places):
            name = f"{stem}, {way} {place:.2f}.png"
            as_picture(edits.pictures[k]).save(self.folder / name)
            self.rows.append(dict(zip(COLUMNS, (
                task.name, task.target, way, place, edits.chosen == k, scores[k], distances[k], edits.learning,
                edits.painting, name,
            ), strict=True)))  # fmt: skip
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(self.rows, indent=1), encoding="utf-8")

    def close(self, ways: Sequence[str]) -> None:
        """The table for spreadsheets, and the sheet."""
        path = self.folder / "scores.csv"
        with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        lines, labels = [], []
        for image, target in dict.fromkeys((row["image"], row["target"]) for row in self.rows):
            shown = [self._one(image, target, way) for way in ways]
            names = [f"{_stem(Task(image, torch.empty(0), target))}.png", *(row["picture"] for row in shown if row)]
            lines.append(list(_opened(self.folder, names)))
            labels.append(f"{target} ({', '.join(row['way'] for row in shown if row)})")
        if lines:
            as_picture(contact_sheet(lines, labels)).save(self.folder / "sheet.png")

    def table(self, ways: Sequence[str]) -> str:
        """Means over pairs of what each way has to show."""
        lines = []
        for way in ways:
            rows = [self._one(image, target, way) for image, target in dict.fromkeys(
                (row["image"], row["target"]) for row in self.rows if row["way"] == way)]  # fmt: skip
            shown = [row for row in rows if row is not None]
            if shown:
                scores = [row["score"] for row in shown if row["score"] is not None]
                mean = f"{sum(scores) / len(scores):.3f}" if scores else ""
                cells = [sum(row[key] for row in shown) / len(shown) for key in ("distance", "learning", "painting")]
                lines.append((way, len(shown), mean, f"{cells[0]:.3f}", f"{cells[1]:.1f}", f"{cells[2]:.1f}"))
        return table(("way", "pairs", "score", "distance", "learning, CPU s", "painting, CPU s"), lines)

    def _one(self, image: str, target: str, way: str) -> dict[str, Any] | None:
        """The row to show: the chosen place, else the middle one."""
        rows = [row for row in self.rows if (row["image"], row["target"], row["way"]) == (image, target, way)]
        return next((row for row in rows if row["chosen"]), rows[len(rows) // 2] if rows else None)


def _opened(folder: Path, names: Sequence[str]) -> Iterator[Tensor]:
    size = None
    for name in names:
        picture = Image.open(folder / name).convert("RGB")
        size = size or picture.size
        rows = torch.frombuffer(bytearray(picture.resize(size).tobytes()), dtype=torch.uint8)
        yield rows.reshape(size[1], size[0], 3).float() / 255


def _stem(task: Task) -> str:
    """A file name that no two pairs share."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in f"{Path(task.name).stem} {task.target}")[:80]
    return f"{plain} {hashlib.sha256(f'{task.name}|{task.target}'.encode(errors='backslashreplace')).hexdigest()[:6]}"


if __name__ == "__main__":
    sys.exit(main())
