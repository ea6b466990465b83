"""Two and three edits on one batch: does the second undo the first? Graded by the oracle, which took part in nothing.

Each edit is made on an example; 64 sampled portraits then follow all edits, one after the other, each with the
closed-form strengths of the codes that it finds, or solved together (`editing/one_for_all/combine.py`). Three kinds
of edits:

    plain      along a shipped slider, the direction being its own normal, as published
    slider     along a shipped slider, with the slider's regressed normal
    by hand    along the difference of 12 pictures with the attribute and 12 without, as a person would pick them: such
               a direction carries other attributes along; with the slider's regressed normal
    (normals and picks come from the training's regressor, never from the oracle)

    moved    mean |first attribute after all edits - after the first edit alone|, in its standard deviation
    spread   standard deviation of an attribute after / before; of glasses the share that arrives
    landing  |mean after - the edited example's value|, in the attribute's standard deviation
    missed   mean distance from the states asked for, v . w, in lengths of the edit

    python benchmarks/combine_edits.py [--portraits 64] [--examples 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from _harness import say, table
from semantic_edit.demo import measure
from semantic_edit.demo.assets import demo_reader
from semantic_edit.demo.portraits.factors import LIVE_NAMES
from semantic_edit.editing import apply_edit, attribute_values, plan_strength
from semantic_edit.editing.one_for_all.attributes import fit_to_generator
from semantic_edit.editing.one_for_all.closed_form import target_value
from semantic_edit.editing.one_for_all.combine import combine_edits
from semantic_edit.editing.one_for_all.example_edit import with_example
from semantic_edit.models import load_generator
from semantic_edit.models.files.direction import read_direction

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
# Slider file: measured attribute, amount of the example's edit in standard deviations.
SLIDERS = {
    "turn_head": ("yaw", 1.5),
    "smile": ("smile", 1.5),
    "open_mouth": ("mouth_open", 1.5),
    "long_hair": ("hair_len", 1.5),
    "glasses": ("glasses", 3.0),
}
PRESENCE = {"glasses"}
SETS = (("smile", "long_hair"), ("open_mouth", "turn_head"), ("turn_head", "smile", "glasses"))
KINDS = ("plain", "slider", "by hand")
METHODS = ("one after the other", "solved together")
PICKED, CANDIDATES = 12, 160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--examples", type=int, default=2)
    options = parser.parse_args()
    generator = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
    rng = torch.Generator().manual_seed(200)
    batch = generator.map(torch.randn(options.portraits, generator.z_dim, generator=rng))
    examples = generator.map(torch.randn(options.examples, generator.z_dim, generator=rng))
    picks = pick_by_hand(generator)
    before = measure(generator.synthesize(batch))
    rows, overall = [], {(kind, method): [] for kind in KINDS for method in METHODS}
    for names in SETS:
        for kind in KINDS:
            graded = {method: [] for method in METHODS}
            for example in examples:
                edits = [make_edit(generator, name, example, before, kind, picks) for name in names]
                for method, found in grade(generator, names, edits, batch, before).items():
                    graded[method].append(found)
            for method in METHODS:
                summary = average(names, graded[method])
                overall[kind, method].append(summary)
                rows.append(row(kind, method, summary))
                say(" | ".join(rows[-1]))
    whole = table(["edits", "kind", "", "spread, landing of each", "first moved", "missed"], rows)
    means = [mean_row(key, found) for key, found in overall.items()]
    head = table(["kind", "", "first moved", "missed", "spread", "landing"], means)
    say(f"\n{head}\n\n{whole}")


def pick_by_hand(generator) -> dict:
    """Slider -> difference [D] of the mean codes of 12 pictures with the attribute and 12 without."""
    w = generator.map(torch.randn(CANDIDATES, generator.z_dim, generator=torch.Generator().manual_seed(201)))
    seen = torch.cat([demo_reader("features")(generator.synthesize(part)) for part in w.split(32)])
    found = {}
    for name in {name for names in SETS for name in names}:
        order = seen[:, LIVE_NAMES.index(SLIDERS[name][0])].argsort()
        found[name] = w[order[-PICKED:], 0].mean(dim=0) - w[order[:PICKED], 0].mean(dim=0)
    return found


def make_edit(generator, name: str, example, before, kind: str, picks: dict):
    """The example's edit, and the value of its attribute after it, by the oracle."""
    attribute, amount = SLIDERS[name]
    slider = fit_to_generator(
        generator, **{**read_direction(MODELS / "directions" / f"{name}.safetensors"), "name": name}
    )
    value = float(measure(generator.synthesize(example[None]))[attribute])
    # Away from where the example is, so that the edit is one that people would make.
    step = amount if value < float(before[attribute].median()) or attribute in PRESENCE else -amount
    difference = step * slider.direction
    if kind == "by hand":  # as far as the slider goes, by the normal
        other = picks[name].expand_as(difference)
        difference = other * float((slider.normal * difference).sum() / (slider.normal * other).sum())
    normal = difference if kind == "plain" else slider.normal
    edited = example + difference
    edit = with_example(difference, normal, slider.layers, example, edited, kind, generator.family, name)
    return edit, float(measure(generator.synthesize(edited[None]))[attribute])


def grade(generator, names, edits, batch, before) -> dict:
    """Per method the figures of every edit."""
    plain = [edit for edit, _ in edits]
    first = apply_edit(batch, plain[0], plan_strength(plain[0], batch).alpha)
    codes = first
    for edit in plain[1:]:
        codes = apply_edit(codes, edit, plan_strength(edit, codes).alpha)
    alone = measure(generator.synthesize(first))[SLIDERS[names[0]][0]]
    together = combine_edits(batch, plain, [1.0] * len(plain)).codes
    graded = {}
    for method, moved_codes in zip(METHODS, (codes, together), strict=True):
        after = measure(generator.synthesize(moved_codes))
        found = []
        for name, (edit, goal) in zip(names, edits, strict=True):
            attribute = SLIDERS[name][0]
            std = float(before[attribute].std())
            missed = attribute_values(edit, moved_codes) - target_value(edit)
            found.append(
                {
                    "missed": float(missed.abs().mean() / (edit.normal * edit.direction).sum().abs()),
                    "spread": float(after[attribute].std()) / std,
                    "landing": abs(float(after[attribute].mean()) - goal) / std,
                    "arrived": float(((after[attribute] > 0.5) == (goal > 0.5)).float().mean()),
                }
            )
        attribute = SLIDERS[names[0]][0]
        moved = float((after[attribute] - alone).abs().mean() / before[attribute].std())
        graded[method] = {"moved": moved, "edits": found}
    return graded


def average(names, found: list[dict]) -> dict:
    """Means over the examples."""
    edits = [
        {key: statistics.mean(one["edits"][k][key] for one in found) for key in found[0]["edits"][k]}
        for k in range(len(names))
    ]
    return {"moved": statistics.mean(one["moved"] for one in found), "edits": edits, "names": names}


def row(kind, method, summary) -> list[str]:
    cells = []
    for name, edit in zip(summary["names"], summary["edits"], strict=True):
        present = SLIDERS[name][0] in PRESENCE
        cells.append(f"{edit['arrived']:.0%}" if present else f"{edit['spread']:.2f}, {edit['landing']:.2f}")
    missed = statistics.mean(edit["missed"] for edit in summary["edits"])
    what = " + ".join(name.replace("_", " ") for name in summary["names"])
    return [what, kind, method, "; ".join(cells), f"{summary['moved']:.2f}", f"{missed:.3f}"]


def mean_row(key: tuple[str, str], found: list[dict]) -> list[str]:
    """Over all sets; spread and landing without glasses."""
    edits = [(name, edit) for one in found for name, edit in zip(one["names"], one["edits"], strict=True)]
    valued = [edit for name, edit in edits if SLIDERS[name][0] not in PRESENCE]
    missed = statistics.mean(edit["missed"] for _, edit in edits)
    spread, landing = (statistics.mean(edit[what] for edit in valued) for what in ("spread", "landing"))
    moved = statistics.mean(one["moved"] for one in found)
    return [*key, f"{moved:.2f}", f"{missed:.3f}", f"{spread:.2f}", f"{landing:.2f}"]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    started = time.monotonic()
    main()
    say(f"{time.monotonic() - started:.0f} s, {torch.get_num_threads()} threads, torch {torch.__version__}")
