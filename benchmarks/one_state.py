"""Are all photos brought to one state? Graded by the oracle, which nothing here optimises for unless said beside.

The editor is a generator's code moved along a shipped slider. It brings one example, before and after its edit; all
photos shall show what the example shows after it.

    constant strength   everyone moves as far as the example: one drawing a photo
    equal change        everyone changes by as many pixels as the example, what published sliders do at best
    closed form         Edit One for All's own formula
    one state, READER   draw, read, correct

    spread       standard deviation of the attribute after / before, of photos that can reach the state by the oracle
    landing      |mean after - the example's value| in the attribute's standard deviation before
    drawings     pictures drawn per photo
    named right  share of photos of which it is told rightly if they can reach the reading asked for
    kept         similarity of identity between a photo and its edit

Readers: "example, scorer" one pair in the open_clip scorer's features; "example, encoder" the same in the encoder's;
"network" reads attributes as landmarks of a face would (a regressor with labels, trained apart from the oracle); "the
oracle" stands beside as the ceiling.

    python benchmarks/one_state.py [--portraits 64] [--examples 3] [--sliders ...] [--write]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from _harness import machine_facts, say
from _one_state_editors import MODELS, SLIDERS, Editor, GanEditors
from _pages import write_page
from semantic_edit.demo import identity, measure
from semantic_edit.demo.assets import demo_reader
from semantic_edit.demo.portraits.factors import LIVE_NAMES
from semantic_edit.editing import StateReader, reach_state
from semantic_edit.editing.one_for_all.features import encoder_space
from semantic_edit.editing.state import reader_from_example
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.scorer import load_scorer

LEVELS = 7  # strengths at which the truth about who can reach the state is drawn
CEILING = "the oracle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--examples", type=int, default=3)
    parser.add_argument("--sliders", nargs="*", default=list(SLIDERS))
    parser.add_argument("--write", action="store_true", help="put the tables on the page")
    options = parser.parse_args()
    began, bench = time.monotonic(), Bench()
    editors = GanEditors(options.portraits)
    rows: dict[str, dict[str, list[dict]]] = {}
    for slider in options.sliders:
        for example in range(options.examples):
            for method, figures in bench.grade(editors.editor(slider, example)).items():
                rows.setdefault(SLIDERS[slider][0], {}).setdefault(method, []).append(figures)
        say(table({SLIDERS[slider][0]: rows[SLIDERS[slider][0]]}))
    lines = [
        f"GAN, {options.portraits} portraits, {options.examples} examples; medians over examples.",
        "",
        table(rows),
    ]
    lines += ["", summary(rows)]
    say("\n".join(lines))
    facts = f"{machine_facts()}; {time.monotonic() - began:.0f} s"
    say(facts)
    if options.write:
        command = f"python benchmarks/one_state.py --portraits {options.portraits} --examples {options.examples}"
        write_page("one_state", "\n".join(lines), command, facts)


class Bench:
    """The networks that read."""

    def __init__(self) -> None:
        allow_declaring()
        self.scorer = load_scorer(MODELS / "scorers" / "demo_portraits")
        self.encoder = encoder_space(load_encoder(MODELS / "encoders" / "demo_portraits.safetensors"))

    def readers(self, editor: Editor) -> dict[str, StateReader]:
        """Readers of the editor's attribute; each knows the state of the example after its edit."""
        before, after = editor.example
        column = LIVE_NAMES.index(editor.attribute)
        readers = {
            "example, scorer": reader_from_example(self.scorer.encode_images, before, after, editor.before),
            "example, encoder": reader_from_example(self.encoder.read, before, after, editor.before),
        }
        for name, read in (
            ("network", lambda pictures: demo_reader("features")(pictures.clamp(-1, 1))[:, column]),
            (CEILING, lambda pictures: measure(pictures)[editor.attribute]),
        ):
            readers[name] = StateReader(read, (editor.attribute,), target=read(after))
        return readers

    def grade(self, editor: Editor) -> dict[str, dict]:
        """Every method's figures."""
        count = len(editor.before)
        grid = torch.linspace(editor.strengths[0], editor.strengths[-1], LEVELS)
        pictures = [editor.render(s.expand(count)) for s in grid]
        truth = torch.stack([measure(batch)[editor.attribute] for batch in pictures], dim=1)
        reachable = (truth.amin(dim=1) <= editor.goal) & (truth.amax(dim=1) >= editor.goal)
        figures = {}

        def note(name: str, edited: torch.Tensor, drawings: float, named: float | None = None) -> None:
            figures[name] = grade_pictures(editor, edited, reachable, drawings, named)

        note("constant strength", editor.render(torch.full((count,), editor.example_strength)), 1)
        change = change_reader(editor.before)
        amount = float((editor.example[1] - editor.example[0]).abs().mean())
        forward = tuple(s for s in (0.0, *editor.strengths) if s * editor.example_strength >= 0)
        equal = reach_state(editor.render, change, torch.full((count,), amount), forward)
        note("equal change", equal.pictures, equal.renders / count)
        if editor.closed_form is not None:
            note("closed form", editor.render(editor.closed_form()), 1)
        for name, reader in self.readers(editor).items():
            reached = reach_state(editor.render, reader, reader.target.expand(count), editor.strengths)
            readings = torch.stack([reader.read(batch)[:, 0] for batch in pictures], dim=1)
            can = (readings.amin(dim=1) <= reader.target) & (readings.amax(dim=1) >= reader.target)
            named = float((can == reached.reachable).float().mean())
            note(f"one state, {name}", reached.pictures, reached.renders / count, named)
        figures["constant strength"]["reachable"] = float(reachable.float().mean())
        return figures


def grade_pictures(editor: Editor, edited, reachable, drawings: float, named: float | None) -> dict[str, float]:
    """Grade one batch by the oracle."""
    before, after = measure(editor.before)[editor.attribute], measure(edited)[editor.attribute]
    std = float(before.std())
    return {
        "spread": float(after[reachable].std()) / std,
        "landing": abs(float(after[reachable].mean()) - editor.goal) / std,
        "drawings": drawings,
        "named right": float("nan") if named is None else named,
        "kept": float((identity(edited) * identity(editor.before)).sum(dim=1).mean()),
    }


def change_reader(before: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Read how much each picture differs from the unedited one: mean absolute difference."""
    return lambda pictures: (pictures - before).abs().mean(dim=(1, 2, 3))


def table(rows: dict[str, dict[str, list[dict]]]) -> str:
    """Markdown of medians over the examples."""
    names = ("spread", "landing", "drawings", "named right", "kept")
    lines = [f"| attribute | method | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for attribute, methods in rows.items():
        for method, figures in methods.items():
            medians = [statistics.median(figure[name] for figure in figures) for name in names]
            lines.append(f"| {attribute} | {method} | {' | '.join(cell(number) for number in medians)} |")
    return "\n".join(lines)


def summary(rows: dict[str, dict[str, list[dict]]]) -> str:
    """Median of the attributes' medians, per method."""
    lines = ["| median of the attributes | spread | landing | drawings |", "|---|---|---|---|"]
    for method in next(iter(rows.values())):
        per_attribute = [
            [statistics.median(figure[name] for figure in methods[method]) for methods in rows.values()]
            for name in ("spread", "landing", "drawings")
        ]
        lines.append(f"| {method} | {' | '.join(cell(statistics.median(column)) for column in per_attribute)} |")
    return "\n".join(lines)


def cell(number: float) -> str:
    return "" if number != number else f"{number:.2f}"


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
