"""``semantic-edit demo``: the main job on the embedded default, by the very workflow that is shared with ComfyUI.

The shipped photos are inverted, one of them is edited, and all are brought to the same final state.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from ...editing.common.figures import as_picture, contact_sheet
from ...editing.common.similarity import psnr
from ...editing.one_for_all.consistency import measure_consistency
from ...models.files.atomic import atomic_write
from ...models.printable import write_line
from ..host.headless_host import HeadlessSettings, use_headless
from ..run.runner import Result, Runner
from ..workflow.document import Prompt, read_document

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "edit_one_for_all.json"
_COLUMNS = 8
_FACE = ("skin", "eyes", "mouth", "glasses", "brows")
_FACE_DB = 20.0  # below it the generator cannot paint a face, and an edit of it leaves ghosts


def main(options: argparse.Namespace) -> None:
    """Run the workflow and leave pictures, a contact sheet, the plot and the strengths in <output>/demo."""
    began = time.monotonic()
    folder = options.output / "demo"
    runner = Runner(use_headless(HeadlessSettings(output=folder, device=options.device)))
    prompt = runner.prepare(read_document(WORKFLOW))
    _say("Inverting the shipped photos, editing one of them, and bringing all to its state ...")
    run = RunValues(prompt, runner.run(prompt))
    paths = write_results(run, folder)
    seconds = time.monotonic() - began
    _say(f"Done in {seconds:.0f} s.")
    for title, path in paths.items():
        _say(f"  {title}: {path}")
    _say(_summary(run))
    if names := left_out(run):
        _say(f"Not on the contact sheet: {names}. Their pictures are in the folder.")


class RunValues:
    """The values of a run by the type of the node that made them."""

    def __init__(self, prompt: Prompt, result: Result) -> None:
        self.prompt, self.result = prompt, result

    def value(self, class_type: str, output: int = 0, index: int = 0) -> object:
        """Return the (first) value of an output; `index` counts the nodes of that type."""
        return self._outputs(class_type, index)[output][0]

    def values(self, class_type: str, output: int) -> list:
        """Return all values of an output that is a list, of the first node of that type."""
        return self._outputs(class_type, 0)[output]

    def _outputs(self, class_type: str, index: int) -> list[list]:
        ids = [node_id for node_id, node in self.prompt.nodes.items() if node["class_type"] == class_type]
        return self.result.values[ids[index]]


def write_results(run: RunValues, folder: Path) -> dict[str, Path]:
    """Write contact sheet, plot, strengths and pictures; return their paths by title."""
    photos = run.value("SemanticEditLoadDemoPhotos")
    names = run.value("SemanticEditLoadDemoPhotos", 1).splitlines()
    redrawn = run.value("SemanticEditInvertImages", 1)
    edited = run.value("SemanticEditGenerateImages")
    paths = {
        "contact sheet": folder / "contact_sheet.png",
        "plot": folder / "plot.png",
        "strengths": folder / "strengths.json",
        "pictures": folder / "pictures",
    }
    for name, before, after in zip(names, redrawn, edited, strict=True):
        _write_picture(paths["pictures"] / f"{name}_before.png", before)
        _write_picture(paths["pictures"] / f"{name}_after.png", after)
    shown = (face_likeness(run) >= _FACE_DB).nonzero().flatten()
    shown = shown if len(shown) else torch.arange(len(photos))
    _write_picture(paths["contact sheet"], _sheet(photos[shown], redrawn[shown], edited[shown]))
    _write_picture(paths["plot"], run.value("SemanticEditConsistencyReport")[0])
    _write_text(paths["strengths"], json.dumps(_strength_table(run, names), indent=2) + "\n")
    return paths


def face_likeness(run: RunValues) -> torch.Tensor:
    """Compute the PSNR ``[N]`` in dB of redrawn photos inside their faces: backgrounds and shirts do not count."""
    photos, parts = run.value("SemanticEditLoadDemoPhotos"), run.value("SemanticEditLoadDemoPhotos", 2)
    redrawn = run.value("SemanticEditInvertImages", 1)
    face = parts.masks[:, [parts.index(name) for name in _FACE]].amax(dim=1, keepdim=True)
    return psnr(*(pictures.movedim(-1, 1) * 2 - 1 for pictures in (photos, redrawn)), face)


def left_out(run: RunValues) -> str:
    """Name the photos whose faces the generator cannot paint, with their likeness."""
    names = run.value("SemanticEditLoadDemoPhotos", 1).splitlines()
    pairs = [(name, like) for name, like in zip(names, face_likeness(run).tolist(), strict=True) if like < _FACE_DB]
    listed = ", ".join(f"{name} ({like:.0f} dB)" for name, like in pairs)
    return f"{listed}, whose faces the demo generator cannot paint" if pairs else ""


def _sheet(photos: torch.Tensor, redrawn: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
    rows, labels = [], []
    for first in range(0, len(photos), _COLUMNS):
        for label, batch in (("photo", photos), ("inverted", redrawn), ("edited", edited)):
            rows.append(list(batch[first : first + _COLUMNS]))
            labels.append(label)
    return contact_sheet(rows, labels)


def _strength_table(run: RunValues, names: list[str]) -> dict[str, object]:
    alphas = run.values("SemanticEditComputeStrength", 1)
    psnr = run.values("SemanticEditInvertImages", 2)
    direction = run.value("SemanticEditOptimizeDirection")
    pictures = [
        {"name": name, "strength": round(alpha, 4), "psnr_db": round(likeness, 2)}
        for name, alpha, likeness in zip(names, alphas, psnr, strict=True)
    ]
    return {"edit": direction.name, "method": direction.method, "pictures": pictures}


def _summary(run: RunValues) -> str:
    """Describe the edit by the oracle, which took no part in it."""
    attribute = _attribute(run)
    before, after = (
        torch.tensor(json.loads(run.value("SemanticEditMeasurePortraits", 1, index))[attribute]) for index in (0, 1)
    )
    result = measure_consistency(before, after)
    psnr = run.values("SemanticEditInvertImages", 2)
    return (
        f"Inversion: {sum(psnr) / len(psnr):.1f} dB on average. Measured {attribute}: spread "
        f"{result.std_before:.2f} before and {result.std_after:.2f} after, mean {result.mean_before:+.2f} "
        f"-> {result.mean_after:+.2f}."
    )


def _attribute(run: RunValues) -> str:
    nodes = run.prompt.nodes.values()
    report = next(node for node in nodes if node["class_type"] == "SemanticEditConsistencyReport")
    return str(report["inputs"]["attribute"])


def _write_picture(path: Path, image: torch.Tensor) -> None:
    with atomic_write(path, make_folder=True) as temporary:
        as_picture(image).save(temporary, "PNG")


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path, make_folder=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    write_line(sys.stdout, text)
    sys.stdout.flush()
