"""Are all photos brought to one state? Graded by the oracle, which nothing here optimises for unless said beside.

Three editors: a generator's code moved along a shipped slider; a slider that the demo diffusion model learned from one
pair; Imagic, each photo learned by itself. Each brings one example, before and after its edit; all photos shall show
what the example shows after it.

    constant strength   everyone moves as far as the example: one drawing a photo
    equal change        everyone changes by as many pixels as the example, what published sliders do at best
    closed form         Edit One for All's own formula, for a generator
    one state, READER   draw, read, correct

    spread       standard deviation of the attribute after / before, of photos that can reach the state by the oracle
    landing      |mean after - the example's value| in the attribute's standard deviation before
    drawings     pictures drawn per photo; unedited photos are at hand
    named right  share of photos of which it is told rightly if they can reach the reading asked for
    kept         similarity of identity between a photo and its edit

Readers: "example, scorer" one pair in the open_clip scorer's features; "example, encoder" the same in the encoder's;
"example, middle" in the middle of the diffusion model that edits; "example, together" in all of these; "taught" the
same reader, taught by what the editor draws as it goes; "network" reads attributes as landmarks of a face would (a
regressor with labels, trained apart from the oracle); "the oracle" stands beside as the ceiling. Strengths have the
price that Plan Strengths begins with (``--penalty``).

"noise" sweeps a reader's own: the oracle's readings with a wobble of so many standard deviations of the photos.
"two" edits two attributes at once: both sliders solved for together beside each slider's own strengths put together.

    python benchmarks/one_state.py [--only gan noise two pair imagic] [--portraits 64] [--examples 3] [--sliders ...]
        [--photos 24] [--attributes ...] [--pairs 1] [--one-pass] [--imagic-photos 8] [--imagic-preset quick]
        [--readers ...] [--penalty 2] [--write]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from _harness import machine_facts, say
from _one_state_diffusion import PAIRS, DiffusionEditors
from _one_state_editors import MODELS, SLIDERS, Editor, GanEditors
from _pages import write_page
from semantic_edit.demo import identity, measure
from semantic_edit.demo.assets import demo_diffusion, demo_reader
from semantic_edit.demo.portraits.factors import LIVE_NAMES
from semantic_edit.editing import StateReader, reach_state
from semantic_edit.editing.one_for_all.features import encoder_space
from semantic_edit.editing.state import middle_features, reach_states, reader_from_example
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.scorer import load_scorer

LEVELS = 7  # strengths at which the truth about who can reach the state is drawn
DEAR_LEVELS = 5  # likewise, where a drawing takes a second
CEILING = "the oracle"
PARTS = ("gan", "noise", "two", "pair", "imagic")
WOBBLES = (0.0, 0.1, 0.2, 0.4)  # standard deviations of the photos
NOISY_SLIDERS = ("turn_head", "smile")
TWO = (("turn_head", "open_mouth"), ("long_hair", "smile"), ("smile", "open_mouth"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--examples", type=int, default=3)
    parser.add_argument("--sliders", nargs="*", default=list(SLIDERS))
    parser.add_argument("--photos", type=int, default=24, help="of the pair slider")
    parser.add_argument("--attributes", nargs="*", default=["hair_len", "yaw"], choices=PAIRS, help="of its pairs")
    parser.add_argument("--pairs", type=int, default=1, help="that it learns from")
    parser.add_argument("--one-pass", action="store_true", help="apply the pair slider plainly")
    parser.add_argument("--readers", nargs="*", help="these alone; else all")
    parser.add_argument("--penalty", type=float, default=2.0, help="of strengths")
    parser.add_argument("--imagic-photos", type=int, default=8)
    parser.add_argument("--imagic-preset", default="quick", choices=("quick", "standard", "thorough"))
    parser.add_argument("--write", action="store_true", help="put the tables on the page")
    options = parser.parse_args()
    began, bench, lines = time.process_time(), Bench(options.penalty, options.readers), []

    def note(*more: str) -> None:
        lines.extend(["", *more])
        say("\n".join(more))

    if {"gan", "noise", "two"} & set(options.only):
        editors = GanEditors(options.portraits)
    if "gan" in options.only:
        note(*gan_lines(bench, editors, options.sliders, options.examples))
    if "noise" in options.only:
        note(*noise_lines(editors, [slider for slider in NOISY_SLIDERS if slider in options.sliders]))
    if "two" in options.only:
        note(*two_lines(editors, [pair for pair in TWO if set(pair) <= set(options.sliders)]))
    if {"pair", "imagic"} & set(options.only):
        diffusion = DiffusionEditors(demo_diffusion())
        bench.middle = middle_features(diffusion.bundle.model, diffusion.encode, diffusion.entry)
    if "pair" in options.only:
        rows = {}
        for name in options.attributes:
            editor = diffusion.pair(name, options.photos, options.pairs, options.one_pass)
            rows[name] = as_rows(bench.grade(editor, DEAR_LEVELS))
        way = f"{options.pairs} pair{'s' * (options.pairs > 1)}{', in one pass' * options.one_pass}"
        note(f"A slider learned from {way}, {options.photos} portraits.", "", table(rows))
    if "imagic" in options.only:
        editor = diffusion.imagic("hair_len", options.imagic_photos, options.imagic_preset)
        rows = {"hair_len": as_rows(bench.grade(editor, DEAR_LEVELS))}
        note(f"Imagic, one sentence, {options.imagic_photos} portraits, each learned by itself.", "", table(rows))
    facts = f"{machine_facts()}; {time.process_time() - began:.0f} s of CPU"
    say(facts)
    if options.write:
        command = f"python benchmarks/one_state.py --portraits {options.portraits} --examples {options.examples}"
        write_page("one_state", "\n".join(lines), command, facts)


def gan_lines(bench: Bench, editors: GanEditors, sliders: list[str], examples: int) -> list[str]:
    """Every slider of the generator, every way."""
    rows: dict[str, dict[str, list[dict]]] = {}
    for slider in sliders:
        for example in range(examples):
            for method, figures in bench.grade(editors.editor(slider, example)).items():
                rows.setdefault(SLIDERS[slider][0], {}).setdefault(method, []).append(figures)
    count = len(editors.before)
    return [f"GAN, {count} portraits, {examples} examples; medians over examples.", "", table(rows), "", summary(rows)]


def noise_lines(editors: GanEditors, sliders: list[str]) -> list[str]:
    """The oracle with a wobble as the reader, which tells its noise."""
    lines = ["| attribute | reader's noise | spread | landing | drawings | named right |", "|---|---|" + "---|" * 4]
    for slider in sliders:
        editor = editors.editor(slider)
        before = measure(editor.before)[editor.attribute]
        reachable, _ = reach_of(editor, LEVELS)
        for wobble in WOBBLES:
            rng, sigma = torch.Generator().manual_seed(3), wobble * float(before.std())

            def read(pictures: torch.Tensor, rng=rng, sigma=sigma, attribute=editor.attribute) -> torch.Tensor:
                return measure(pictures)[attribute] + sigma * torch.randn(len(pictures), generator=rng)

            reader = StateReader(
                read, (editor.attribute,), noise=torch.tensor([sigma]), target=torch.tensor([editor.goal])
            )
            reached = reach(editor, reader)
            named = float((reachable == reached.reachable).float().mean())
            figures = grade_pictures(editor, reached.pictures, reachable, reached.renders / len(before), named)
            cells = [cell(figures[name]) for name in ("spread", "landing", "drawings", "named right")]
            lines.append(f"| {editor.attribute} | {wobble:.2f} | {' | '.join(cells)} |")
    return ["A reader with noise, in standard deviations of the portraits (the oracle with a wobble).", "", *lines]


def two_lines(editors: GanEditors, pairs: list[tuple[str, str]]) -> list[str]:
    """Both attributes of a pair to one state; how far the second edit moves the first attribute."""
    lines = [
        "| attributes | way | spread of both | landing of both | the second moves the first | drawings |",
        "|---|---|" + "---|" * 4,
    ]
    for pair in pairs:
        names = [SLIDERS[slider][0] for slider in pair]
        columns = [LIVE_NAMES.index(name) for name in names]
        singles = [editors.editor(slider) for slider in pair]
        reachable = torch.stack([reach_of(editor, LEVELS)[0] for editor in singles]).all(dim=0)

        def read(pictures: torch.Tensor, columns=columns) -> torch.Tensor:
            return demo_reader("features")(pictures.clamp(-1, 1))[:, columns]

        render, _ = editors.pair(pair)
        goals = torch.tensor([editor.goal for editor in singles])
        targets = torch.stack([read(editor.example[1])[0, k] for k, editor in enumerate(singles)])
        alone = [
            reach(editor, StateReader(lambda x, k=k: read(x)[:, k], (names[k],), target=targets[k : k + 1]))
            for k, editor in enumerate(singles)
        ]
        first = measure(alone[0].pictures)[names[0]]
        count = len(editors.before)
        joint = reach_states(render, read, targets.expand(count, -1), [(-2.0, 2.0)] * 2, rounds=4)
        together = render(torch.stack([state.strengths for state in alone], dim=1))
        before = torch.stack([measure(editors.before)[name] for name in names], dim=1)
        drawn = sum(state.renders for state in alone) / count
        for way, pictures, drawings in (
            ("each by itself", together, drawn),
            ("both together", joint.pictures, joint.renders / count),
        ):
            values = torch.stack([measure(pictures)[name] for name in names], dim=1)[reachable]
            std = before.std(dim=0)
            spread, landing = values.std(dim=0) / std, (values.mean(dim=0) - goals).abs() / std
            moved = float((values[:, 0] - first[reachable]).mean().abs() / std[0])
            cells = [" and ".join(cell(float(number)) for number in pair) for pair in (spread, landing)]
            lines.append(f"| {', '.join(names)} | {way} | {' | '.join(cells)} | {moved:.2f} | {drawings:.1f} |")
    return ["Two attributes at once, read by the network.", "", *lines]


def reach(editor: Editor, reader: StateReader, penalty: float = 0.0, learn: bool = False):
    """One state as nodes bring it about: unedited photos are read, and who has landed is not drawn again."""
    target = reader.target.expand(len(editor.before))
    unedited = editor.before if editor.strengths[0] <= 0 else None
    return reach_state(
        editor.render, reader, target, editor.strengths, unedited=unedited, render_some=editor.render_some,
        strength_penalty=penalty, learn=learn,
    )  # fmt: skip


def reach_of(editor: Editor, levels: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Who can reach the state by the oracle, [B], and the pictures at every level that told it."""
    grid = torch.linspace(editor.strengths[0], editor.strengths[-1], levels)
    pictures = [editor.render(s.expand(len(editor.before))) for s in grid]
    truth = torch.stack([measure(batch)[editor.attribute] for batch in pictures], dim=1)
    return (truth.amin(dim=1) <= editor.goal) & (truth.amax(dim=1) >= editor.goal), pictures


def as_rows(figures: dict[str, dict]) -> dict[str, list[dict]]:
    """One example's figures as `table` takes them."""
    return {method: [numbers] for method, numbers in figures.items()}


class Bench:
    """The networks that read; ``middle`` is that of a diffusion model, where one edits."""

    def __init__(self, penalty: float, names: list[str] | None = None) -> None:
        allow_declaring()
        self.penalty, self.names = penalty, names
        self.middle: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.scorer = load_scorer(MODELS / "scorers" / "demo_portraits")
        self.encoder = encoder_space(load_encoder(MODELS / "encoders" / "demo_portraits.safetensors"))

    def readers(self, editor: Editor) -> dict[str, StateReader]:
        """Readers of the editor's attribute; each knows the state of the example after its edit."""
        before, after = editor.example
        column = LIVE_NAMES.index(editor.attribute)
        networks = {"scorer": self.scorer.encode_images, "encoder": self.encoder.read}
        if self.middle is not None:
            networks["middle"] = self.middle
        readers = {
            f"example, {name}": reader_from_example(read, before, after, editor.before)
            for name, read in {**networks, "together": list(networks.values())}.items()
        }
        for name, read in (
            ("network", lambda pictures: demo_reader("features")(pictures.clamp(-1, 1))[:, column]),
            (CEILING, lambda pictures: measure(pictures)[editor.attribute]),
        ):
            readers[name] = StateReader(read, (editor.attribute,), target=read(after).mean()[None])
        return {name: reader for name, reader in readers.items() if self.names is None or name in self.names}

    def grade(self, editor: Editor, levels: int = LEVELS) -> dict[str, dict]:
        """Every method's figures."""
        count = len(editor.before)
        reachable, pictures = reach_of(editor, levels)
        figures = {}

        def note(name: str, edited: torch.Tensor, drawings: float, named: float | None = None) -> None:
            figures[name] = grade_pictures(editor, edited, reachable, drawings, named)

        note("constant strength", editor.render(torch.full((count,), editor.example_strength)), 1)
        change = change_reader(editor.before)
        amount = float((editor.example[1] - editor.example[0]).abs().mean())
        forward = tuple(s for s in (0.0, *editor.strengths) if s * editor.example_strength >= 0)
        if levels == LEVELS:  # where drawings are dear, pixels are not asked
            equal = reach_state(editor.render, change, torch.full((count,), amount), forward, unedited=editor.before)
            note("equal change", equal.pictures, equal.renders / count)
        if editor.closed_form is not None:
            note("closed form", editor.render(editor.closed_form()), 1)
        readers = self.readers(editor)
        ways = [(name, False) for name in readers]
        if editor.strengths[0] <= 0:
            ways += [(name, True) for name, reader in readers.items() if reader.example is not None]
        for name, learn in ways:
            reached = reach(editor, readers[name], self.penalty, learn)
            reader = reached.reader
            readings = torch.stack([reader.read(batch)[:, 0] for batch in pictures], dim=1)
            can = (readings.amin(dim=1) <= reader.target) & (readings.amax(dim=1) >= reader.target)
            named = float((can == reached.reachable).float().mean())
            note(f"one state, {name}" + ", taught" * learn, reached.pictures, reached.renders / count, named)
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
