"""Imagic on held-out portraits with one sentence each: does the edit come, is it the same person, what does it cost?

    success     the oracle says that the sentence holds, and the identity network that it is the person of the true edit
                (the renderer's own portrait with that one attribute changed, as far as in the picture; similarity of
                .5, which 1 in 100 strangers reach)
    kept        share of the other attributes that moved by less than half of their deviation
    distance    perceptual distance from the photo
    CPU s       seconds of one thread: learning the photo, and painting and choosing among six etas

Every way gives several pictures along its axis: eta, SDEdit's denoise, DDIB's guidance. "chosen" is the one that was
chosen by the scorer, which never sees the truth (the peer has no choice: its published eta 1.2); "at best" is the best
in hindsight by the oracle. "no embedding" tunes under a caption of the photo instead of an optimised embedding;
"eta 1" is the picture at the sentence itself; "from noise alone" samples without the photo's latent under the noise;
"random noise" starts from a seed's noise as published, every other of ours from the photo's own; "captioned" puts what
the photo shows into the negative.
Rows are written as they come; what a file holds is not measured again.

python benchmarks/imagic.py [--folder DIR] [--pairs 40] [--methods imagic ...] [--rows FILE.jsonl]
    [--sheets FOLDER [--picture FILE.jpg]]
    [--peer imagic_stable_diffusion.py] [--common 8] [--memory WAY [--width 160]] [--write]
    [--development] [--set tuning.rate=0.002 ...]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from _edit_methods import (
    AGAIN,
    CAPTIONED,
    ETAS,
    LEARNED,
    METHODS,
    RANDOM,
    SEED,
    SEEDS,
    SEVERAL,
    Edits,
    Workshop,
    settings_from,
)
from _edit_pairs_demo import DEVELOPMENT, HELD_OUT, Pair, deviations, graded, held_out_pairs, identity_scale
from _harness import machine_facts, say, table
from _imagic_ablation import VARIANTS, Ablation, ablation_table
from _imagic_common import common_figures
from _imagic_memory import WAYS, peak_memory, wider_folder
from _imagic_peer import PUBLISHED_ALPHA, Peer
from _pages import write_page
from PIL import Image
from semantic_edit.demo.assets import demo_diffusion
from semantic_edit.editing.common.figures import as_picture, contact_sheet
from semantic_edit.editing.imagic.eta import choose_between
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.scorer import load_scorer

SCORER = Path(__file__).resolve().parent.parent / "models" / "demo" / "scorers" / "demo_portraits"
HEAD = ("way", "pairs", "chosen: success", "holds", "identity", "kept", "distance", "at best: success", "holds",
        "CPU s: learning", "painting")  # fmt: skip
BETWEEN = ", the better of empty and caption"
TWICE = ", tuned twice, the best of four sweeps"
OURS = (
    f"standard{TWICE}", *(f"{preset}{way}" for preset in SEVERAL for way in ("", BETWEEN, CAPTIONED)),
    f"standard{RANDOM}", "thorough", "imagic", "joint",
)  # fmt: skip
# Fewer steps than the nodes' defaults, larger ones: what this small model needs to come back to a photo in 10 s.
SETTINGS = (
    "embedding.steps=40", "embedding.rate=0.02", "embedding.draws=4", "tuning.steps=60", "tuning.rate=0.001",
    "tuning.draws=4", "sampling.steps=12", "sampling.sampler=dpmpp_2m", "sampling.scheduler=karras", "sampling.cfg=3",
)  # fmt: skip
PEER, FITTED = "diffusers community", "diffusers community, rates fitted"
FITTED_RATES = {"embedding_learning_rate": 0.01, "diffusion_model_learning_rate": 1e-4}
# The table, what matters most first: a run that is stopped, or cut by --pairs, has that.
PLAN = (
    ("standard", 40), ("quick", 40), (FITTED, 40),
    *((f"{preset}{seed}", 40) for preset in SEVERAL for seed in SEEDS[1:]),
    *((f"{AGAIN}{seed}", 40) for seed in SEEDS),
    ("LoRA, rank 16", 8), ("LoRA, rank 4", 8), ("LoRA, rank 64", 8), ("LoRA, attention alone", 8),
    ("standard, joint", 8), ("standard, layout held", 8), (PEER, 8), ("thorough", 40),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--methods", nargs="*", default=["imagic"], choices=METHODS)
    parser.add_argument("--rows", type=Path, default=Path("imagic_rows.jsonl"))
    parser.add_argument("--table", action="store_true", help="every row of the table, instead of --methods")
    parser.add_argument(
        "--share", default="1/1", help="2/3: the second of three processes, each with a third of the pairs"
    )
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--picture", type=Path, help="a JPEG of the sheets of the first dozen of 'standard'")
    parser.add_argument("--peer", type=Path, help="the community pipeline's file")
    parser.add_argument("--fitted", action="store_true", help="the peer with learning rates that suit this model")
    parser.add_argument("--common", type=int, default=0, help="photos that shall reach one state")
    parser.add_argument("--memory", choices=WAYS, help="measure the peak memory of one way in this process, and stop")
    parser.add_argument("--width", type=int, default=0, help="with --memory: a UNet like SD's, of this width (SD: 320)")
    parser.add_argument("--development", action="store_true", help="other pairs, for choosing settings")
    parser.add_argument("--ablate", nargs="*", choices=VARIANTS, help="variants on development pairs (all), and stop")
    parser.add_argument("--set", nargs="*", default=[], help="settings other than SETTINGS, tuning.rate=0.002")
    parser.add_argument("--write", action="store_true", help="write the page of results/ from the rows")
    options = parser.parse_args()
    allow_declaring()
    torch.set_num_threads(1)
    folder = options.folder or demo_diffusion()
    settings = settings_from([*SETTINGS, *options.set])
    if options.memory:
        with tempfile.TemporaryDirectory() as place:
            if options.width:
                folder = wider_folder(folder, options.width, Path(place) / "wider")
            say(json.dumps(peak_memory(options.memory, folder, options.peer, settings)))
        return
    rows = Rows(options.rows)
    workshop = Workshop(folder, load_scorer(SCORER), **settings)
    if options.ablate is not None:
        ablation = Ablation(workshop, rows)
        ablation.run({name: VARIANTS[name] for name in options.ablate or VARIANTS}, options.pairs)
        say(f"{machine_facts()}\n\n{ablation_table(rows)}")
        return
    pairs = held_out_pairs(options.pairs, workshop.side, DEVELOPMENT if options.development else HELD_OUT)
    bench = Bench(workshop, rows, options.sheets)
    plan = PLAN if options.table else [(method, options.pairs) for method in options.methods]
    if options.peer and not options.table:
        plan.append((FITTED if options.fitted else PEER, options.pairs))
    first, processes = (int(number) for number in options.share.split("/"))
    for method, count in plan:
        for pair in pairs[: min(count, options.pairs)][first - 1 :: processes]:
            bench.run(method, pair, options.peer)
    if options.common:
        rows.add({"method": "common state", **common_figures(workshop, options.common, options.sheets)})
    if options.sheets and options.picture:
        stack_sheets(options.sheets, sorted(rows.of("standard"), key=lambda line: line["pair"])[:12], options.picture)
    add_choices_between(rows)
    text = summary(rows)
    say(f"{machine_facts()}\n\n{text}")
    if options.write:
        scale = ", ".join(
            f"{key} {value:.2f}" for key, value in identity_scale(workshop.side, workshop.bundle.vae).items()
        )
        write_page("imagic", f"{text}\n\nIdentity scale: {scale}.", "python benchmarks/imagic.py", machine_facts())


def stack_sheets(folder: Path, lines: Sequence[dict[str, Any]], picture: Path) -> None:
    """Lay the sheets of some rows below each other, the photos in one column."""
    sheets = [Image.open(folder / f"{line['method']}, {line['pair']}.png").convert("RGB") for line in lines]
    widths = [(sheet.height - 4) * (len(line["places"]) + 1) for sheet, line in zip(sheets, lines, strict=True)]
    lefts = [sheet.width - width for sheet, width in zip(sheets, widths, strict=True)]
    size = max(lefts) + max(widths), sum(sheet.height for sheet in sheets)
    stack, top = Image.new("RGB", size, "white"), 0
    for sheet, left in zip(sheets, lefts, strict=True):
        stack.paste(sheet, (max(lefts) - left, top))
        top += sheet.height
    stack.save(picture, quality=82)


class Rows:
    """Lines of a file, one a measurement, read at the start and added to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        if path.exists():
            self.lines = [json.loads(line) for line in path.read_text().splitlines()]

    def has(self, pair: str, method: str) -> bool:
        """Whether it was measured."""
        return any(line.get("pair") == pair and line["method"] == method for line in self.lines)

    def of(self, method: str) -> list[dict[str, Any]]:
        """All measurements of one way."""
        return [line for line in self.lines if line["method"] == method]

    def add(self, line: dict[str, Any]) -> None:
        """One more, on the disk at once."""
        self.lines.append(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Bench:
    """Runs ways on pairs."""

    def __init__(self, workshop: Workshop, rows: Rows, sheets: Path | None) -> None:
        self.workshop, self.rows, self.sheets, self.spread = workshop, rows, sheets, deviations()

    def run(self, method: str, pair: Pair, peer: Path | None = None) -> None:
        """One way on one pair, and other samplings of what "standard" learned."""
        if self.rows.has(pair.task.name, method):
            return
        if method in (PEER, FITTED):
            if peer:
                rates = FITTED_RATES if method == FITTED else {}
                self.rows.add(self.row(method, pair, Peer(peer, self.workshop.folder, **rates).edit(pair.task)))
            return
        if method not in LEARNED:
            self.rows.add(self.row(method, pair, self.workshop.edit(method, pair.task)))
            return
        learned = self.workshop.learn(method, pair.task)
        edits = self.workshop.sweep(learned, pair.task)
        self.rows.add(self.row(method, pair, edits))
        way, _, seed = method.partition(SEED)
        if way in (*SEVERAL, AGAIN):
            changes: dict[str, dict[str, Any]] = {CAPTIONED: {"negative": pair.task.source}}
            if method == "standard":  # once is enough for what the others are compared with
                changes[RANDOM] = {"own_noise": False}
            for name, change in changes.items():
                edits = self.workshop.sweep(replace(learned, noises=[], **change), pair.task)
                self.rows.add(self.row(method.replace(way, f"{way}{name}"), pair, edits))
        if method == "imagic":
            alone = self.workshop.sweep(learned, pair.task, from_photo=False)
            self.rows.add(self.row("imagic, from noise alone", pair, alone))

    def row(self, method: str, pair: Pair, edits: Edits) -> dict[str, Any]:
        """The figures of one way on one pair; the pictures go into the folder of sheets."""
        if self.sheets:
            self.sheets.mkdir(parents=True, exist_ok=True)
            label = f"{pair.task.target} ({'' if edits.chosen is None else format(edits.places[edits.chosen], '.2f')})"
            sheet = contact_sheet([[pair.task.photo[0], *edits.pictures]], [label])
            as_picture(sheet).save(self.sheets / f"{method}, {pair.task.name}.png")
        figures = graded(pair, edits, self.spread)
        best = max(range(len(figures)), key=lambda k: (figures[k]["success"], figures[k]["outcome"]))
        chosen = (
            "" if edits.chosen is None else f"chosen {edits.places[edits.chosen]:.2f}: {shown(figures[edits.chosen])}"
        )
        say(f"{method} | {pair.task.name} | {chosen} | best {edits.places[best]:g}: {shown(figures[best])} | "
            f"{edits.learning:.1f} + {edits.painting:.1f} s")  # fmt: skip
        return {
            "method": method, "pair": pair.task.name, "places": edits.places, "chosen": edits.chosen,
            "figures": figures, "learning": edits.learning, "painting": edits.painting, "report": edits.report,
            **edits.sweep,
        }  # fmt: skip


def add_choices_between(rows: Rows) -> None:
    """Add what Sweep Eta chooses with a caption and with a second model: the best of several sweeps of one photo."""
    every = {(line["method"], line.get("pair")): line for line in rows.lines}
    for plain in [line for line in rows.lines if line["method"].split(SEED)[0] in SEVERAL]:
        way, sign, seed = plain["method"].partition(SEED)
        ways = {BETWEEN: (f"{way}{CAPTIONED}",)}
        if way == "standard":
            ways[TWICE] = (f"{way}{CAPTIONED}", AGAIN, f"{AGAIN}{CAPTIONED}")
        for choice, others in ways.items():
            lines = [plain, *(every.get((f"{other}{sign}{seed}", plain["pair"])) for other in others)]
            name = f"{way}{choice}{sign}{seed}"
            if None not in lines and not rows.has(plain["pair"], name):
                rows.add({**best_of(lines), "method": name})


def best_of(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join measurements of one photo as `join_sweeps` does."""
    count = len(ETAS)
    curves = [[line[name] for line in lines] for name in ("scores", "distances", "besides")]
    row, index = choose_between(curves[0], curves[1], lines[0]["photo_score"], curves[2])
    return {
        **lines[0], "chosen": row * count + index, "eta": ETAS[index],
        "places": [place for line in lines for place in line["places"][:count]],
        "figures": [figures for line in lines for figures in line["figures"][:count]],
        "learning": lines[0]["learning"] + sum(line["tuning"] for line in lines[2:3]),
        "painting": sum(line["painting"] for line in lines),
    }  # fmt: skip


def shown(figures: dict[str, float]) -> str:
    return f"{'yes' if figures['success'] else 'no'} ({figures['reached']:.2f}, {figures['identity']:.2f})"


def summary(rows: Rows) -> str:
    """All tables."""
    methods = list(dict.fromkeys(line["method"] for line in rows.lines if "figures" in line))
    plain = [method for method in methods if SEED not in method]
    lines = [line_of(method, rows.of(method)) for method in plain]
    if "imagic" in methods:
        lines.insert(1, line_of("imagic, eta 1", [at_eta(line, 1.0) for line in rows.of("imagic")]))
    parts = [table(HEAD, lines)]
    parts += [text for way in OURS for text in (automatic(rows, way), seeds(rows, methods, way))]
    parts += [beside_peer(rows, f"standard{way}") for way in (TWICE, BETWEEN, "")]
    parts += [f"Common state: {line['text']}" for line in rows.of("common state")]
    return "\n\n".join(part for part in parts if part)


def line_of(name: str, lines: Sequence[dict[str, Any]]) -> list[str]:
    """One row of the main table."""
    chosen = [line["figures"][line["chosen"]] for line in lines if line["chosen"] is not None]
    best = [max(line["figures"], key=lambda f: (f["success"], f["outcome"])) for line in lines]
    cells = [name, str(len(lines))]
    cells += [f"{mean(f[key] for f in chosen):.2f}" for key in ("success", "holds", "identity", "kept", "distance")]
    cells += [f"{mean(f[key] for f in best):.2f}" for key in ("success", "holds")]
    return [
        *cells,
        f"{mean(line['learning'] for line in lines):.1f}",
        f"{mean(line['painting'] for line in lines):.1f}",
    ]


def at_eta(line: dict[str, Any], eta: float) -> dict[str, Any]:
    """The same measurement with that eta taken for chosen and for best."""
    figures = [line["figures"][list(line["places"]).index(eta)]]
    return {**line, "figures": figures, "chosen": 0}


def automatic(rows: Rows, way: str) -> str:
    """How near the choice comes to hindsight."""
    lines = [line for line in rows.lines if line["method"].split(SEED)[0] == way]
    if not lines:
        return ""
    ratios = []
    for line in lines:
        best = max(f["outcome"] for f in line["figures"])
        ratios.append(line["figures"][line["chosen"]]["outcome"] / best if best > 0 else 1.0)
    near = mean(ratio >= 0.95 for ratio in ratios)
    return (
        f"Automatic eta of '{way}': the outcome (share of the way, times the mean of kept and identity) is within 5 % "
        f"of the best eta's on {near:.0%} of {len(ratios)} sweeps, {mean(ratios):.2f} of it on average."
    )


def seeds(rows: Rows, methods: Sequence[str], way: str) -> str:
    """How much the seed of the learning decides."""
    runs = [method for method in methods if method == way or method.startswith(f"{way}{SEED}")]
    shared = set.intersection(*({line["pair"] for line in rows.of(method)} for method in runs)) if runs[1:] else set()
    if not shared:
        return ""
    by_pair = {pair: [] for pair in sorted(shared)}
    for method in runs:
        for line in rows.of(method):
            if line["pair"] in shared:
                by_pair[line["pair"]].append(line["figures"][line["chosen"]]["success"])
    each = [mean(successes[k] for successes in by_pair.values()) for k in range(len(runs))]
    torn = mean(len(set(successes)) > 1 for successes in by_pair.values())
    return (
        f"Seeds of the learning of '{way}', {len(shared)} pairs: success "
        f"{', '.join(f'{value:.2f}' for value in each)}; on {torn:.0%} of the pairs the seed "
        "decides whether the edit succeeds."
    )


def beside_peer(rows: Rows, way: str) -> str:
    """Failures and time on the pairs that both did."""
    parts = []
    for name in (PEER, FITTED):
        theirs = {line["pair"]: line for line in rows.of(name)}
        ours = {line["pair"]: line for line in rows.of(way) if line["pair"] in theirs}
        theirs = {pair: line for pair, line in theirs.items() if pair in ours}
        if not ours:
            continue
        seconds = [mean(line["learning"] + line["painting"] for line in each.values()) for each in (theirs, ours)]
        alone = [mean(line["learning"] for line in each.values()) for each in (theirs, ours)]
        parts.append(
            f"On the {len(ours)} pairs that '{name}' did too: failures {failures(theirs, True)} at its best eta "
            f"({failures(theirs, False)} at its published {PUBLISHED_ALPHA}), '{way}' {failures(ours, False)} at the "
            f"automatic eta, {failures(ours, True)} at the best; CPU time {seconds[0]:.0f} s against "
            f"{seconds[1]:.0f} s, "
            f"learning alone {alone[0]:.0f} s against {alone[1]:.0f} s."
        )
    return "\n\n".join(parts)


def failures(lines: dict[str, dict[str, Any]], hindsight: bool) -> int:
    """Pairs without success: at any eta, or at the chosen one."""
    looked = [line["figures"] if hindsight else [line["figures"][line["chosen"]]] for line in lines.values()]
    return sum(not any(figures["success"] for figures in each) for each in looked)


if __name__ == "__main__":
    main()
