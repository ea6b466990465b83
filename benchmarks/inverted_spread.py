"""Do edits of inverted portraits come together as closely as those of sampled codes?

Held-out renders are inverted into W+, as many codes are sampled, and both batches follow the same kind of edit: one of
them slid along the shipped slider. The oracle reads the pictures before and after.

    spread   standard deviation of the attribute after / before, mean over the examples
    bar      inverted at most 10 % above sampled

    python benchmarks/inverted_spread.py [--portraits 24] [--steps 60] [--examples 2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch
from semantic_edit.demo import measure, render, sample_factors
from semantic_edit.demo.assets import demo_reader
from semantic_edit.editing import apply_edit, invert, plan_strength, record_edit
from semantic_edit.editing.one_for_all.attributes import fit_to_generator, slide_attribute
from semantic_edit.editing.one_for_all.features import encoder_space, network_space
from semantic_edit.editing.one_for_all.fit_normal import learn_normal
from semantic_edit.editing.one_for_all.render_and_correct import measured_strength
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.files.direction import read_direction

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
SLIDERS = {"turn_head": "yaw", "smile": "smile", "open_mouth": "mouth_open"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=24)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--examples", type=int, default=2)
    options = parser.parse_args()
    generator = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
    encoder = load_encoder(MODELS / "encoders" / "demo_portraits.safetensors")
    factors = sample_factors(options.portraits, torch.Generator().manual_seed(4242))
    pictures = render(factors, generator.resolution[0]).images
    inverted = invert(generator, pictures, start=encoder.encode(pictures, generator), space="w+", steps=options.steps)
    say(f"inverted: {float(inverted.psnr.mean()):.1f} dB")
    rng = torch.Generator().manual_seed(5)
    batches = {
        "sampled": generator.map(torch.randn(options.portraits, generator.z_dim, generator=rng)),
        "inverted": inverted.codes,
    }
    spaces = {
        "encoder": encoder_space(encoder),
        "network": network_space("network", demo_reader("features"), "demo"),
    }
    for slider, attribute in SLIDERS.items():
        fields = read_direction(MODELS / "directions" / f"{slider}.safetensors")
        direction = fit_to_generator(generator, **{**fields, "name": slider})
        say(slider)
        found = {name: spreads(generator, codes, direction, attribute, spaces, options.examples)
                 for name, codes in batches.items()}  # fmt: skip
        for method in found["sampled"]:
            sampled, other = (statistics.mean(found[name][method]) for name in ("sampled", "inverted"))
            say(f"  {method:20} sampled {sampled:.3f}  inverted {other:.3f}  ({other / sampled - 1:+.0%})")


@torch.no_grad()
def spreads(generator, codes, direction, attribute, spaces, examples: int) -> dict[str, list[float]]:
    """Every method's spread for each example of one batch."""
    before = measure(generator.synthesize(codes))[attribute]
    rows: dict[str, list[float]] = {}
    for k in range(examples):
        amount = 1.5 if before[k] < before.median() else -1.5
        edited = slide_attribute(codes[k : k + 1], direction, amount)
        plain = record_edit(generator, codes[k], edited)
        regressed = record_edit(generator, codes[k], edited, measured_by=direction)
        ends = {"difference": moved(codes, plain), "regression": moved(codes, regressed)}
        for name, space in spaces.items():
            learned = learn_normal(generator, plain, plain, space, "features")
            ends[name] = moved(codes, learned)
        strength = measured_strength(generator, learned, codes, learned.score)
        ends["network, corrected"] = apply_edit(codes, learned, strength.alpha)
        for method, end in ends.items():
            spread = measure(generator.synthesize(end))[attribute].std() / before.std()
            rows.setdefault(method, []).append(float(spread))
    return rows


def moved(codes, direction):
    """Everyone to the example's state, by the closed form."""
    return apply_edit(codes, direction, plan_strength(direction, codes).alpha)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
