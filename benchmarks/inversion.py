"""How closely held-out portraits are inverted, and whether edits of inverted portraits still work.

    psnr      dB per picture, mean: encoder alone, then with the optimisation
    distance  of the codes from the mean of W, in standard deviations (about 1 for sampled codes)
    spread    of the smile, after / before, when the batch follows one edited example: inverted and sampled codes

    python benchmarks/inversion.py [--portraits 32] [--steps 60 150]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from semantic_edit.demo import measure, render, sample_factors
from semantic_edit.editing import apply_edit, invert, plan_strength, record_edit
from semantic_edit.editing.attributes import fit_to_generator, slide_attribute
from semantic_edit.models import load_generator
from semantic_edit.models.direction_file import read_direction
from semantic_edit.models.encoder import load_encoder

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=32)
    parser.add_argument("--steps", type=int, nargs="*", default=[60, 150])
    options = parser.parse_args()
    generator = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
    encoder = load_encoder(MODELS / "encoders" / "demo_portraits.safetensors")
    factors = sample_factors(options.portraits, torch.Generator().manual_seed(4242))
    pictures = render(factors, generator.resolution[0]).images
    began = time.monotonic()
    start = encoder.encode(pictures, generator)
    say(f"encoder: {options.portraits} pictures in {time.monotonic() - began:.2f} s")
    report("encoder alone", invert(generator, pictures, start=start, steps=0), generator, 0.0)
    for steps in options.steps:
        for space, first in (("w+", start), ("w+", None), ("w", start)):
            began = time.monotonic()
            found = invert(generator, pictures, start=first, space=space, steps=steps)
            label = f"{space}, {steps} steps, from the {'mean' if first is None else 'encoder'}"
            report(label, found, generator, time.monotonic() - began)
    sampled = generator.map(torch.randn(options.portraits, generator.z_dim, generator=torch.Generator().manual_seed(5)))
    say(f"sampled codes: spread of the smile {smile_spread(generator, sampled):.3f}")


def report(label, found, generator, seconds) -> None:
    spread = smile_spread(generator, found.codes)
    say(
        f"{label}: {float(found.psnr.mean()):.2f} dB (worst {float(found.psnr.min()):.2f}), distance "
        f"{float(found.distance.mean()):.2f}, spread of the smile {spread:.3f}, {seconds:.0f} s"
    )


def smile_spread(generator, codes) -> float:
    """The first picture smiles more, and all follow by the plain difference."""
    with torch.no_grad():
        fields = read_direction(MODELS / "directions" / "smile.safetensors")
        direction = fit_to_generator(generator, **fields)
        edit = record_edit(generator, codes[:1], slide_attribute(codes[:1], direction, 1.5))
        moved = apply_edit(codes, edit, plan_strength(edit, codes).alpha)
        before, after = (measure(generator.synthesize(c))["smile"].std() for c in (codes, moved))
    return float(after / before)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
