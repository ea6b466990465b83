"""Does one edit bring every picture to the same state? Graded by the oracle, which took no part in any of it.

A few examples are edited, and 64 sampled portraits follow. Edits are made along the shipped slider ("slider"), or are
perfect ("factor": the code of the same person with one factor changed, as a careful drag would leave it).

    spread   standard deviation of the measured attribute after / before; for glasses and hat the presence rate
    landing  |mean after - the edited example's value| in the attribute's standard deviation before
    drift    mean absolute change of every other attribute, in its standard deviation
    realism  Frechet distance (diagonal) between feature statistics of edited and unedited portraits
    probe    R2 of a linear guess of the attribute from w: what the generator gives for free

What each row knows beyond the example's two codes:
    constant, difference, paper         nothing
    encoder                             the encoder's features of sampled pictures; no label anywhere
    network                             the 15 readings of a network, of which the edit changes some; not told which
    network, whitened                   the same network's readings as features, weighed by their covariance
    regression                          a normal fitted to labelled samples (the slider's own)
    ... corrected                       pictures rendered, measured in the same features, and moved on, twice;
                                        for "regression" measured by the reading its labels came from
    set exactly                         (once) everyone with the factor set in z: what generator and oracle
                                        themselves leave of spread

    python benchmarks/edit_one_for_all.py [--edits slider factor] [--portraits 64] [--examples 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from semantic_edit.demo import measure
from semantic_edit.demo.assets import demo_reader
from semantic_edit.demo.portraits.factors import FACTORS, INDEX, LIVE_NAMES
from semantic_edit.editing import apply_edit, constant_strength, optimize_direction, plan_strength, record_edit
from semantic_edit.editing.common.fit import fit_attribute
from semantic_edit.editing.one_for_all.attribute_score import linear_probe, sample_features
from semantic_edit.editing.one_for_all.attributes import fit_to_generator, slide_attribute
from semantic_edit.editing.one_for_all.features import encoder_space, network_space
from semantic_edit.editing.one_for_all.fit_normal import learn_normal
from semantic_edit.editing.one_for_all.render_and_correct import measured_strength
from semantic_edit.models import GanGenerator, load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.files.direction import read_direction

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
CORRECTIONS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, default=MODELS / "generators" / "demo_portraits.safetensors")
    parser.add_argument("--encoder", type=Path, default=MODELS / "encoders" / "demo_portraits.safetensors")
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--sliders", nargs="*", default=list(SLIDERS))
    parser.add_argument("--edits", nargs="*", default=["slider", "factor"])
    parser.add_argument("--published", type=int, default=64, help="height of the paper's pictures; 0 leaves it out")
    parser.add_argument("--only", nargs="*", help="feature spaces to grade, and nothing else")
    parser.add_argument("--encoder-corrected", action="store_true", help="corrections by the encoder's features, too")
    parser.add_argument("--probe-samples", type=int, default=1500, help="0 leaves the probe out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench = Bench(load_generator(options.generator), options)
    results: dict[str, dict] = {}
    for kind in options.edits:
        for slider in options.sliders:
            key = f"{kind} {slider}"
            results[key] = bench.grade_slider(slider, kind)
            show(key, results[key])
            if options.json:
                options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


class Remembering:
    """A generator that draws each code once: many methods end in pictures that a correction has seen already."""

    def __init__(self, generator: GanGenerator) -> None:
        self.generator, self.seen = generator, {}

    def __getattr__(self, name: str):
        return getattr(self.generator, name)

    def synthesize(self, w: torch.Tensor, stop_resolution: int | None = None) -> torch.Tensor:
        """As the generator's, from memory where the bits of a code are the same."""
        keys = [(row.numpy().tobytes(), stop_resolution) for row in w]
        new = [k for k, key in enumerate(keys) if key not in self.seen]
        if new:
            drawn = self.generator.synthesize(w[new], stop_resolution=stop_resolution)
            self.seen.update(zip([keys[k] for k in new], drawn, strict=True))
        return torch.stack([self.seen[key] for key in keys])

    def forget(self) -> None:
        """Let go of every picture."""
        self.seen.clear()


class Bench:
    """The portraits that follow, what is known of them, and the spaces that methods may look in."""

    def __init__(self, generator: GanGenerator, options: argparse.Namespace) -> None:
        self.generator = generator = Remembering(generator)
        rng = torch.Generator().manual_seed(100)
        self.z = torch.randn(options.portraits, generator.z_dim, generator=rng)
        self.example_z = torch.randn(options.examples, generator.z_dim, generator=rng)
        self.batch, self.examples = generator.map(self.z), generator.map(self.example_z)
        pictures = generator.synthesize(self.batch)
        self.before, self.unedited = measure(pictures), feature_statistics(pictures)
        self.example_values = measure(generator.synthesize(self.examples))
        self.probes = probe_r2(generator, options.probe_samples) if options.probe_samples else {}
        self.reading = network_space("network", demo_reader("features"), "demo", readings=True)
        plain = network_space("network, whitened", demo_reader("features"), "demo")
        self.spaces = {
            "encoder": encoder_space(load_encoder(options.encoder)),
            "network": self.reading,
            "network, whitened": plain,
        }
        self.methods, self.exact = options, {}
        for name, space in self.spaces.items():
            if self.methods.only and name not in self.methods.only:
                continue
            sample_features(generator, space)
        generator.forget()

    def grade_slider(self, slider: str, kind: str) -> dict:
        """Every method's figures for each example."""
        attribute, amount = SLIDERS[slider]
        direction = fit_to_generator(
            self.generator, **{**read_direction(MODELS / "directions" / f"{slider}.safetensors"), "name": slider}
        )
        rows: dict[str, list[dict]] = {}
        middle = float(self.before[attribute].median())
        for k, (example, value) in enumerate(zip(self.examples, self.example_values[attribute].tolist(), strict=True)):
            # Away from where the example is, so that the edit is one that people would make.
            up = value < (0.5 if attribute in PRESENCE else middle)
            if kind == "slider":
                start, edited = example, slide_attribute(example[None], direction, amount if up else -amount)[0]
            else:
                start = example
                edited = self.generator.map(changed_factor(self.example_z[k : k + 1], attribute, up))[0]
            goal = float(measure(self.generator.synthesize(edited[None]))[attribute])
            for method, codes in self.follow(start, edited, direction, attribute, goal).items():
                rows.setdefault(method, []).append(self.grade(codes, attribute, goal))
            self.generator.forget()
        return {"probe": round(self.probes.get(attribute, float("nan")), 3), "methods": rows}

    def follow(self, start, edited, slider, attribute: str, goal: float):
        """The batch's codes after the example's edit, by each method."""
        generator, batch = self.generator, self.batch
        plain = record_edit(generator, start, edited)
        codes = (
            {}
            if self.methods.only
            else {
                "constant": apply_edit(batch, plain, constant_strength(plain, batch).alpha),
                "difference": moved(batch, plain),
            }
        )
        if self.methods.published and not self.methods.only:
            found = optimize_direction(
                generator.generator, start, edited, variant="batch", stop_resolution=self.methods.published
            )
            published = found.with_offset(found.start + float(found.direction.square().sum()))
            codes["paper, batch form"] = moved(batch, found)
            codes["paper, as published"] = moved(batch, published)
        for name, space in self.spaces.items():
            if self.methods.only and name not in self.methods.only:
                continue
            learned = learn_normal(generator, plain, plain, space, normal="features")
            codes[name] = moved(batch, learned)
            if name == "encoder" and not self.methods.encoder_corrected:
                continue
            strength = measured_strength(generator, learned, batch, learned.score, rounds=CORRECTIONS)
            codes[f"{name}, corrected"] = apply_edit(batch, learned, strength.alpha)
        if self.methods.only:
            return codes
        regressed = record_edit(generator, start, edited, measured_by=slider)
        codes["regression"] = moved(batch, regressed)
        strength = measured_strength(
            generator, regressed, batch, self.labelled(regressed, attribute), rounds=CORRECTIONS
        )
        codes["regression, corrected"] = apply_edit(batch, regressed, strength.alpha)
        if not self.exact.get(attribute):
            self.exact[attribute] = True
            codes["set exactly"] = generator.map(with_factor(self.z, attribute, goal))
        return codes

    def labelled(self, direction, attribute: str):
        """The reading that the slider's labels came from, as a score."""
        samples = sample_features(self.generator, self.reading)
        head = linear_probe(samples, direction.normal, direction.direction)
        values = samples.features[:, LIVE_NAMES.index(attribute)]
        weights = torch.zeros(samples.features.shape[1])
        weights[LIVE_NAMES.index(attribute)] = 1 / float(values.std())
        return replace(head, weights=weights, intercept=-float(values.mean() / values.std()), trust=1.0)

    def grade(self, codes, attribute: str, goal: float) -> dict:
        """Spread, landing, presence, drift and realism of one batch."""
        pictures = self.generator.synthesize(codes)
        before, after = self.before, measure(pictures)
        std = float(before[attribute].std())
        others = [name for name in before if name not in (attribute, "hat_hue")]
        drift = [float((after[n] - before[n]).abs().mean() / before[n].std().clamp(min=1e-6)) for n in others]
        present = (after[attribute] > 0.5) == (goal > 0.5)
        return {
            "spread": float(after[attribute].std()) / std,
            "landing": abs(float(after[attribute].mean()) - goal) / std,
            "reached": float(present.float().mean()),
            "drift": statistics.mean(drift),
            "realism": frechet(self.unedited, feature_statistics(pictures)),
        }


def moved(batch, direction):
    """Everyone to the example's state, by the closed form."""
    return apply_edit(batch, direction, plan_strength(direction, batch).alpha)


def changed_factor(z: torch.Tensor, attribute: str, up: bool) -> torch.Tensor:
    """The same person with one factor moved by 1.5 of its standard deviations, or its presence changed: [1, Z]."""
    z = z * torch.rsqrt(z.square().mean(1, keepdim=True))
    k = LIVE_NAMES.index(attribute)
    z[:, k] = (1.3 if up else -1.0) if attribute in PRESENCE else shifted(float(z[0, k]), 1.5 if up else -1.5)
    return z


def shifted(value: float, deviations: float) -> float:
    """A normal value whose rank among normal values moves by deviations of a uniform variable."""
    rank = 0.5 * (1 + torch.erf(torch.tensor(value / 2**0.5))) + deviations / 12**0.5
    return float(torch.erfinv(2 * rank.clamp(0.01, 0.99) - 1) * 2**0.5)


def with_factor(z: torch.Tensor, attribute: str, goal: float) -> torch.Tensor:
    """Everyone with the factor at the value ``goal``, as exactly as z can say it: [B, Z]."""
    factor, k = FACTORS[INDEX[attribute]], LIVE_NAMES.index(attribute)
    z = z * torch.rsqrt(z.square().mean(1, keepdim=True))
    if attribute in PRESENCE:
        z[:, k] = 1.3 if goal > 0.5 else -1.0
    else:
        rank = torch.tensor((goal - factor.low) / (factor.high - factor.low)).clamp(0.01, 0.99)
        z[:, k] = torch.erfinv(2 * rank - 1) * 2**0.5
    return z


def probe_r2(generator: GanGenerator, count: int) -> dict[str, float]:
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
        levels = [demo_reader("features").features(part)[1:3] for part in pictures.split(64)]
    pooled = torch.cat([torch.cat([level.mean(dim=(2, 3)) for level in part], dim=1) for part in levels])
    return pooled.mean(dim=0), pooled.std(dim=0)


def frechet(a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor]) -> float:
    scale = a[1].clamp(min=1e-3)
    return float((((a[0] - b[0]) / scale).square() + ((a[1] - b[1]) / scale).square()).mean())


def show(key: str, result: dict) -> None:
    say(f"{key} (probe R2 {result['probe']}); mean, [median, worst] over the examples")
    for method, rows in result["methods"].items():
        columns = [figures(name, [row[name] for row in rows]) for name in ("spread", "landing")]
        mean = {name: statistics.mean(row[name] for row in rows) for name in rows[0]}
        say(
            f"  {method:22} {'  '.join(columns)}  reached {mean['reached']:.1%}  drift {mean['drift']:.3f}  "
            f"realism {mean['realism']:.3f}"
        )


def figures(name: str, values: list[float]) -> str:
    """Mean [median, worst]."""
    return f"{name} {statistics.mean(values):.3f} [{statistics.median(values):.3f}, {max(values):.3f}]"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    started = time.monotonic()
    main()
    say(f"{time.monotonic() - started:.0f} s, {torch.get_num_threads()} threads, torch {torch.__version__}")
