"""Draws docs/icon.png and docs/banner.png from the demo portraits, in an installed checkout.

The icon is one face that is half as it was and half edited; the banner is a batch before and after the same edits.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from semantic_edit.editing import apply_edit, compute_strength
from semantic_edit.editing.one_for_all.attributes import fit_to_generator
from semantic_edit.editing.one_for_all.closed_form import attribute_values
from semantic_edit.models import load_generator
from semantic_edit.models.files.direction import read_direction

ROOT = Path(__file__).resolve().parents[1]
ICON, BANNER = 400, (1680, 720)
CHOSEN, ICON_FACE = (0, 7, 12, 21, 33), 4
INK, PAPER = (24, 28, 38), (246, 247, 250)


def main() -> None:
    """Draw both."""
    generator = load_generator(ROOT / "models/demo/generators/demo_portraits.safetensors")
    z = torch.randn(400, generator.network.config.z_dim, generator=torch.Generator().manual_seed(4))
    codes = generator.map(z, truncation=0.8)
    glasses, hat = (direction_named(generator, name) for name in ("glasses", "hat"))
    # Faces that have neither yet: those that lie the farthest from both.
    worn = attribute_values(glasses, codes)
    far = worn.argsort()[:120]
    far = far[attribute_values(hat, codes[far]).argsort()[:60]]
    before_codes = codes[far[torch.tensor(CHOSEN)]]
    after_codes = apply_edit(
        before_codes, glasses, compute_strength(glasses, before_codes, target=float(worn.quantile(0.9)))
    )
    before, after = pictures(generator, before_codes), pictures(generator, after_codes)
    banner(before, after).save(ROOT / "docs" / "banner.png", optimize=True)
    icon(before[ICON_FACE], after[ICON_FACE]).save(ROOT / "docs" / "icon.png", optimize=True)


def direction_named(generator, name: str):
    """A shipped edit."""
    return fit_to_generator(generator, **read_direction(ROOT / f"models/demo/directions/{name}.safetensors"), rows=None)


def pictures(generator, codes: torch.Tensor) -> list[Image.Image]:
    """[B, L, D] -> B pictures."""
    drawn = generator.synthesize(codes).add(1).mul(127.5).clamp(0, 255).byte().movedim(1, -1)
    return [Image.fromarray(one.cpu().numpy()) for one in drawn]


def banner(before: list[Image.Image], after: list[Image.Image]) -> Image.Image:
    """Two rows of faces below the name."""
    sheet = Image.new("RGB", BANNER, INK)
    side, gap = 240, 20
    left = (BANNER[0] - 5 * side - 4 * gap) // 2
    for k, (first, last) in enumerate(zip(before, after, strict=True)):
        for row, picture in enumerate((first, last)):
            place = (left + k * (side + gap), 180 + row * (side + gap))
            sheet.paste(rounded(picture, side), place, corners(side))
    draw = ImageDraw.Draw(sheet)
    draw.text((left, 42), "Semantic Edit", fill=PAPER, font=ImageFont.load_default(84))
    line = "one edit, the whole collection follows"
    draw.text((left + 580, 86), line, fill=(150, 190, 235), font=ImageFont.load_default(36))
    return sheet


def icon(before: Image.Image, after: Image.Image) -> Image.Image:
    """One face, before and after on the two sides of a line."""
    sheet = rounded(before, ICON)
    half = ICON // 2
    sheet.paste(rounded(after, ICON).crop((half, 0, ICON, ICON)), (half, 0))
    ImageDraw.Draw(sheet).rectangle((half - 4, 0, half + 3, ICON), fill=PAPER)
    sheet.putalpha(corners(ICON))
    return sheet


def rounded(picture: Image.Image, side: int) -> Image.Image:
    """Enlarged and a little sharper; the demo portraits are small."""
    return picture.resize((side, side), Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(2, 60, 2))


def corners(side: int) -> Image.Image:
    """A mask with round corners."""
    mask = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * side - 1, 4 * side - 1), 0.36 * side, fill=255)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
