"""Is the measured attribute linear in the strength alpha? A plot with a line for each portrait, and figures.

Portraits move along each shipped slider; the oracle reads them. Per attribute:

    R2 of line    how well a straight line explains one portrait's values over alpha, mean over portraits
    slopes        standard deviation of the portraits' slopes over their mean: how differently they answer
    usable        the share of a full step's answer that is left at the last alpha (saturation)

    python benchmarks/alpha_linearity.py [--portraits 24] [--out docs/alpha_linearity.png]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from semantic_edit.demo import measure
from semantic_edit.editing import apply_edit
from semantic_edit.editing.common.figures import AFTER, GREY, INK, LIGHT, PAPER, font
from semantic_edit.editing.one_for_all.attributes import fit_to_generator
from semantic_edit.models import load_generator
from semantic_edit.models.files.direction import read_direction

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
SLIDERS = {"turn_head": "yaw", "smile": "smile", "open_mouth": "mouth_open", "open_eyes": "eye_open",
           "long_hair": "hair_len", "glasses": "glasses"}  # fmt: skip
ALPHAS = torch.linspace(-2, 2, 9)
WIDTH, HEIGHT, COLUMNS = 300, 220, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, default=MODELS / "generators" / "demo_portraits.safetensors")
    parser.add_argument("--portraits", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("docs/alpha_linearity.png"))
    options = parser.parse_args()
    generator = load_generator(options.generator)
    rng = torch.Generator().manual_seed(100)
    codes = generator.map(torch.randn(options.portraits, generator.z_dim, generator=rng))
    rows = -(-len(SLIDERS) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * WIDTH, rows * HEIGHT), PAPER)
    for k, (slider, attribute) in enumerate(SLIDERS.items()):
        fields = read_direction(MODELS / "directions" / f"{slider}.safetensors")
        direction = fit_to_generator(generator, **{**fields, "name": slider})
        moved = torch.cat([apply_edit(codes, direction, alpha) for alpha in ALPHAS])
        values = measure(generator.synthesize(moved))[attribute].unflatten(0, (len(ALPHAS), -1))
        say(f"{slider:12} {describe(values)}")
        sheet.paste(panel(values, slider.replace("_", " ")), (k % COLUMNS * WIDTH, k // COLUMNS * HEIGHT))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(64).save(options.out, optimize=True)
    say(f"written: {options.out}")


def describe(values: torch.Tensor) -> str:
    """The figures of one attribute's values [alphas, portraits]."""
    x = ALPHAS - ALPHAS.mean()
    centred = values - values.mean(dim=0)
    slopes = (x[:, None] * centred).sum(dim=0) / x.square().sum()
    rest = (centred - slopes * x[:, None]).square().sum(dim=0) / centred.square().sum(dim=0).clamp(min=1e-9)
    mean = values.mean(dim=1)
    middle = len(ALPHAS) // 2
    steps = (mean[1:] - mean[:-1]).abs()
    left = 0.5 * (steps[0] + steps[-1]) / (0.5 * (steps[middle - 1] + steps[middle])).clamp(min=1e-9)
    return (
        f"R2 of line {float(1 - rest.mean()):.3f}  slopes {float(slopes.std() / slopes.mean().abs()):.2f}  "
        f"usable {float(left):.0%}"
    )


def panel(values: torch.Tensor, title: str) -> Image.Image:
    """One attribute: a thin line for each portrait, their mean thick."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(picture)
    left, right, top, bottom = 38, WIDTH - 12, 30, HEIGHT - 30
    low, high = float(values.min()), float(values.max())

    def at(alpha: float, value: float) -> tuple[float, float]:
        x = left + (alpha - float(ALPHAS[0])) / float(ALPHAS[-1] - ALPHAS[0]) * (right - left)
        return x, bottom - (value - low) / max(high - low, 1e-9) * (bottom - top)

    draw.text((left, 8), title, fill=INK, font=font(14))
    for value in (low, high):
        draw.text((left - 5, at(0, value)[1]), f"{value:.1f}", fill=GREY, font=font(11), anchor="rm")
    for alpha in (-2, -1, 0, 1, 2):
        draw.line([at(alpha, low), at(alpha, high)], fill=LIGHT)
        draw.text(
            (at(alpha, low)[0], bottom + 5), f"{alpha:+d}" if alpha else "0", fill=GREY, font=font(11), anchor="mt"
        )
    for one in values.t():
        draw.line([at(float(a), float(v)) for a, v in zip(ALPHAS, one, strict=True)], fill=(186, 200, 228), width=1)
    mean = values.mean(dim=1)
    draw.line([at(float(a), float(v)) for a, v in zip(ALPHAS, mean, strict=True)], fill=AFTER, width=3)
    return picture


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
