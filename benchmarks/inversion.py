"""How closely held-out portraits are inverted, and whether edits of inverted portraits still work.

    PSNR      dB per picture, mean and worst
    distance  of the codes from the mean of W, in standard deviations (about 1 for sampled codes)
    spread    of an attribute when all portraits are brought to one state along the shipped direction, by its regressed
              normal: standard deviation after the edit / that of portraits at large, mean over five attributes; beside
              it the ratio to what as many sampled codes reach (the bar is 1.1)

    python benchmarks/inversion.py [--portraits 8] [--steps 60] [--pictures FOLDER] [--write]

The oracle measures the spread and takes part in nothing. --pictures writes a sheet: portraits, redrawn, residual.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from _harness import machine_facts, say, table
from _pages import write_page
from semantic_edit.demo import measure, render, sample_factors
from semantic_edit.editing import apply_edit, invert
from semantic_edit.editing.one_for_all.attributes import fit_to_generator
from semantic_edit.editing.one_for_all.closed_form import attribute_values
from semantic_edit.editing.photos.inversion import PULL
from semantic_edit.editing.photos.inversion_report import heat_picture
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.files.direction import read_direction

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
ATTRIBUTES = {
    "smile": "smile",
    "yaw": "turn_head",
    "hair_len": "long_hair",
    "mouth_open": "open_mouth",
    "eye_open": "open_eyes",
}
CODES_AT_LARGE = 64  # sampled portraits whose attributes give the unit of spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pictures", type=Path, help="folder for a sheet of portraits, redrawn ones and residuals")
    parser.add_argument("--only", nargs="*", type=int, help="these rows of the table alone, counted from 1")
    parser.add_argument("--write", action="store_true", help="put the table on its page of results/")
    options = parser.parse_args()
    torch.manual_seed(0)
    generator = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
    encoder = load_encoder(MODELS / "encoders" / "demo_portraits.safetensors")
    pictures = render(
        sample_factors(options.portraits, torch.Generator().manual_seed(4242)), generator.resolution[0]
    ).images
    spread = Spread(generator)
    own = spread(generator, spread.codes[: options.portraits])
    say(f"sampled codes: spread {own:.3f}")
    start = encoder.encode(pictures, generator)
    cases = {
        "encoder alone": {"start": start, "steps": 0},
        "W+, from the encoder, no pull": {"start": start, "pull": 0.0},
        "W+, from the encoder, pull 0.02": {"start": start, "pull": 0.02},
        "W+, from the encoder, pull 0.1": {"start": start, "pull": 0.1},
        f"W+, from the encoder, pull {PULL:g} (default)": {"start": start},
        "W, from the encoder": {"start": start, "space": "w"},
        "W+, from the mean": {},
        "W+, best of 4 starts, no encoder": {"starts": 4},
        "W+ and features of 5 early layers": {"start": start, "early_layers": 5},
    }
    rows = []
    chosen = [label for k, label in enumerate(cases, 1) if not options.only or k in options.only]
    for label in chosen:
        case = cases[label]
        began = time.process_time()
        found = invert(generator, pictures, **{"steps": options.steps, **case})
        seconds = time.process_time() - began
        mean = spread(found.generator, found.codes)
        rows.append(
            (
                label,
                f"{float(found.psnr.mean()):.1f} dB ({float(found.psnr.min()):.1f})",
                f"{float(found.distance.mean()):.2f}",
                f"{mean:.3f}",
                f"{mean / own:.2f}",
                f"{seconds / options.portraits:.1f} s",
            )
        )
        say(" | ".join(rows[-1]))
        if options.pictures:
            sheet(options.pictures / f"{len(rows):02} {label.split(',')[0]}.png", pictures, found)
    head = ("", "PSNR, mean (worst)", "distance", "spread", "/ sampled", "CPU per portrait")
    text = table(head, rows)
    say(text)
    if options.write:
        about = (
            f"Held-out renders, {generator.resolution[0]} px. Spread: what is left of five attributes' standard "
            f"deviation when all are brought to one state; {own:.3f} for as many sampled codes, and the ratio to it."
        )
        command = f"python benchmarks/inversion.py --portraits {options.portraits} --steps {options.steps}"
        write_page("inversion", f"{about}\n\n{text}", command, machine_facts())


class Spread:
    """The mean over attributes of (std after bringing all codes to one state) / (std of sampled portraits)."""

    def __init__(self, generator) -> None:
        z = torch.randn(CODES_AT_LARGE, generator.z_dim, generator=torch.Generator().manual_seed(5))
        self.codes = generator.map(z)
        self.directions = {
            factor: fit_to_generator(generator, **read_direction(MODELS / "directions" / f"{name}.safetensors"))
            for factor, name in ATTRIBUTES.items()
        }
        at_large = self._measured(generator, self.codes)
        self.unit = {factor: at_large[factor].std() for factor in ATTRIBUTES}

    def __call__(self, generator, codes) -> float:
        total = 0.0
        for factor, direction in self.directions.items():
            values = attribute_values(direction, codes)
            gain = (direction.normal * direction.direction).sum()
            alpha = (values.median() + gain - values) / gain  # one length beyond the middle of the batch
            after = self._measured(generator, apply_edit(codes, direction, alpha))[factor]
            total += float(after.std() / self.unit[factor])
        return total / len(self.directions)

    @staticmethod
    def _measured(generator, codes):
        with torch.no_grad():
            return measure(generator.synthesize(codes, chunk=8 if generator.adaptation is None else len(codes)))


def sheet(path: Path, pictures, found) -> None:
    """Portraits, redrawn, residual: one row each."""
    from PIL import Image

    rows = [pictures, found.images, heat_picture(found.error)]
    whole = torch.cat([torch.cat(list(row[:8]), dim=2) for row in rows], dim=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = whole.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).movedim(0, -1)
    Image.fromarray(numbers.numpy()).save(path)


if __name__ == "__main__":
    main()
