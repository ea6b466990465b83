"""Does one edit bring every picture to the same state? Graded by the oracle, which took no part in any of it.

For each attribute a few examples are edited along the shipped slider; the batch of sampled portraits then follows with
a constant strength, with the plain difference of the example's codes, and with the paper's optimised direction.

    spread   standard deviation of the measured attribute after / before; for glasses and hat the presence rate
    landing  |mean after - the edited example's value| in the attribute's standard deviation before
    drift    mean absolute change of every other attribute, in its standard deviation
    realism  Frechet distance (diagonal) between feature statistics of edited and unedited portraits
    probe    R2 of a linear guess of the attribute from w: what the generator gives for free

    python benchmarks/edit_one_for_all.py [--portraits 64] [--examples 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from semantic_edit.demo import measure
from semantic_edit.demo.assets import reader
from semantic_edit.editing import apply_edit, constant_strength, optimize_direction, plan_strength, record_edit
from semantic_edit.editing.attributes import fit_to_generator, slide_attribute
from semantic_edit.editing.fit import fit_attribute
from semantic_edit.models import GanGenerator, load_generator
from semantic_edit.models.direction_file import read_direction

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
# Slider file: measured attribute, amount of the example's edit in standard deviations.
SLIDERS = {
    "turn_head": ("yaw", 1.5),
    "smile": ("smile", 1.5),
    "open_mouth": ("mouth_open", 1.5),
    "open_eyes": ("eye_open", 1.5),
    "long_hair": ("hair_len", 1.5),
    "glasses": ("glasses", 3.0),
    "hat": ("hat", 3.0),
}
PRESENCE = {"glasses", "hat"}
METHODS = ("constant", "difference", "paper, batch form", "paper, as published")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, default=MODELS / "generators" / "demo_portraits.safetensors")
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--sliders", nargs="*", default=list(SLIDERS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    generator = load_generator(options.generator)
    probes = probe_r2(generator)
    rng = torch.Generator().manual_seed(100)
    batch = generator.map(torch.randn(options.portraits, generator.z_dim, generator=rng))
    examples = generator.map(torch.randn(options.examples, generator.z_dim, generator=rng))
    pictures = generator.synthesize(batch)
    before, unedited = measure(pictures), feature_statistics(pictures)
    results = {}
    for slider in options.sliders:
        results[slider] = grade_slider(generator, slider, batch, examples, before, unedited)
        results[slider]["probe"] = round(probes[SLIDERS[slider][0]], 3)
        show(slider, results[slider])
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def grade_slider(generator, slider, batch, examples, before, unedited) -> dict:
    """Every method's figures, averaged over the examples."""
    attribute, amount = SLIDERS[slider]
    direction = fit_to_generator(
        generator, **{**read_direction(MODELS / "directions" / f"{slider}.safetensors"), "name": slider}
    )
    rows: dict[str, list[dict]] = {method: [] for method in METHODS}
    values = measure(generator.synthesize(examples))[attribute]
    middle = float(before[attribute].median())
    for example, value in zip(examples, values.tolist(), strict=True):
        # Away from where the example is, so that the edit is one that people would make.
        step = abs(amount) if value < middle or attribute in PRESENCE else -abs(amount)
        edited = slide_attribute(example[None], direction, step)[0]
        goal = float(measure(generator.synthesize(edited[None]))[attribute])
        for method, codes in follow(generator, example, edited, batch).items():
            rows[method].append(grade(generator, codes, attribute, goal, before, unedited))
    return {
        method: {key: round(statistics.mean(row[key] for row in found), 4) for key in found[0]}
        for method, found in rows.items()
    }


def follow(generator: GanGenerator, example, edited, batch) -> dict:
    """The batch's codes after the example's edit, by each method."""
    plain = record_edit(generator, example, edited)
    found = optimize_direction(generator, example, edited, variant="batch", stop_resolution=64)
    published = found.with_offset(found.start + float(found.direction.square().sum()))
    return {
        "constant": apply_edit(batch, plain, constant_strength(plain, batch).alpha),
        "difference": apply_edit(batch, plain, plan_strength(plain, batch).alpha),
        "paper, batch form": apply_edit(batch, found, plan_strength(found, batch).alpha),
        "paper, as published": apply_edit(batch, published, plan_strength(published, batch).alpha),
    }


def grade(generator, codes, attribute, goal, before, unedited) -> dict:
    pictures = generator.synthesize(codes)
    after = measure(pictures)
    std = float(before[attribute].std())
    others = [name for name in before if name not in (attribute, "hat_hue")]
    drift = [float((after[n] - before[n]).abs().mean() / before[n].std().clamp(min=1e-6)) for n in others]
    present = (after[attribute] > 0.5) == (goal > 0.5)
    return {
        "spread": float(after[attribute].std()) / std,
        "landing": abs(float(after[attribute].mean()) - goal) / std,
        "reached": float(present.float().mean()),
        "drift": statistics.mean(drift),
        "realism": frechet(unedited, feature_statistics(pictures)),
    }


def probe_r2(generator: GanGenerator, count: int = 1500) -> dict[str, float]:
    """How well a linear function of w tells each attribute."""
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(7))
    codes, tables = [], []
    for part in z.split(64):
        w = generator.map(part)
        codes.append(w[:, 0])
        tables.append(measure(generator.synthesize(w)))
    codes = torch.cat(codes)
    wanted = {attribute for attribute, _ in SLIDERS.values()}
    return {name: fit_attribute(codes, torch.cat([table[name] for table in tables])).r2 for name in wanted}


def feature_statistics(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of pooled features of the training's regressor, per channel of two levels."""
    with torch.no_grad():
        levels = [reader("features").features(part)[1:3] for part in pictures.split(64)]
    pooled = torch.cat([torch.cat([level.mean(dim=(2, 3)) for level in part], dim=1) for part in levels])
    return pooled.mean(dim=0), pooled.std(dim=0)


def frechet(a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor]) -> float:
    scale = a[1].clamp(min=1e-3)
    return float((((a[0] - b[0]) / scale).square() + ((a[1] - b[1]) / scale).square()).mean())


def show(slider: str, result: dict) -> None:
    say(f"{slider} (probe R2 {result['probe']})")
    for method in METHODS:
        r = result[method]
        say(f"  {method:20} spread {r['spread']:.2f}  landing {r['landing']:.2f}  reached {r['reached']:.0%}  "
            f"drift {r['drift']:.2f}  realism {r['realism']:.3f}")  # fmt: skip


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    started = time.monotonic()
    main()
    say(f"{time.monotonic() - started:.0f} s, {torch.get_num_threads()} threads, torch {torch.__version__}")
