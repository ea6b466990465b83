"""Draw docs/icon.png and docs/banner.png from the demo portraits, in an installed checkout.

The icon is one face that is half as it was and half edited; the banner is a batch before and after the same edits.
"""

from __future__ import annotations

from pathlib import Path

import torch
from einops import rearrange
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from semantic_edit.editing import apply_edit, compute_strength
from semantic_edit.editing.one_for_all.attributes import fit_to_generator
from semantic_edit.editing.one_for_all.closed_form import attribute_values
from semantic_edit.models import load_generator
from semantic_edit.models.files.direction import read_direction

ROOT = Path(__file__).resolve().parents[1]
ICON, BANNER = 400, (1680, 720)
FACES, ICON_FACE = (0, 7, 12, 21, 33), 4
INK, PAPER = (24, 28, 38), (246, 247, 250)


def main() -> None:
    """Draw both."""
    generator = load_generator(ROOT / "models/demo/generators/demo_portraits.safetensors")
    z = torch.randn(400, generator.network.config.z_dim, generator=torch.Generator().manual_seed(4))
    codes = generator.map(z, truncation=0.8)
    glasses, hat = (direction_named(generator, name) for name in ("glasses", "hat"))
    # Faces that have neither yet: those that lie the farthest from both.
    values = attribute_values(glasses, codes)
    indices = values.argsort()[:120]
    indices = indices[attribute_values(hat, codes[indices]).argsort()[:60]]
    before_codes = codes[indices[torch.tensor(FACES)]]
    strength = compute_strength(glasses, before_codes, target=float(values.quantile(0.9)))
    after_codes = apply_edit(before_codes, glasses, strength)
    before, after = pictures(generator, before_codes), pictures(generator, after_codes)
    banner(before, after).save(ROOT / "docs" / "banner.png", optimize=True)
    icon(before[ICON_FACE], after[ICON_FACE]).save(ROOT / "docs" / "icon.png", optimize=True)


def direction_named(generator, name: str):
    """Return a shipped edit."""
    return fit_to_generator(generator, **read_direction(ROOT / f"models/demo/directions/{name}.safetensors"), rows=None)


def pictures(generator, codes: torch.Tensor) -> list[Image.Image]:
    """Draw codes [B, L, D] as B pictures."""
    images = rearrange(generator.synthesize(codes).add(1).mul(127.5).clamp(0, 255).byte(), "b c h w -> b h w c")
    return [Image.fromarray(image.cpu().numpy()) for image in images]


def banner(before: list[Image.Image], after: list[Image.Image]) -> Image.Image:
    """Draw two rows of faces below the name."""
    sheet = Image.new("RGB", BANNER, INK)
    size, gap = 240, 20
    left = (BANNER[0] - 5 * size - 4 * gap) // 2
    for column, pair in enumerate(zip(before, after, strict=True)):
        for row, picture in enumerate(pair):
            corner = (left + column * (size + gap), 180 + row * (size + gap))
            sheet.paste(enlarged(picture, size), corner, round_mask(size))
    draw = ImageDraw.Draw(sheet)
    draw.text((left, 42), "Semantic Edit", fill=PAPER, font=ImageFont.load_default(84))
    line = "one edit, the whole collection follows"
    draw.text((left + 580, 86), line, fill=(150, 190, 235), font=ImageFont.load_default(36))
    return sheet


def icon(before: Image.Image, after: Image.Image) -> Image.Image:
    """Draw one face, before and after on the two sides of a line."""
    sheet = enlarged(before, ICON)
    half = ICON // 2
    sheet.paste(enlarged(after, ICON).crop((half, 0, ICON, ICON)), (half, 0))
    ImageDraw.Draw(sheet).rectangle((half - 4, 0, half + 3, ICON), fill=PAPER)
    sheet.putalpha(round_mask(ICON))
    return sheet


def enlarged(picture: Image.Image, size: int) -> Image.Image:
    """Enlarge and sharpen a little; the demo portraits are small."""
    return picture.resize((size, size), Image.Resampling.LANCZOS).filter(ImageFilter.UnsharpMask(2, 60, 2))


def round_mask(size: int) -> Image.Image:
    """Draw a mask with round corners."""
    mask = Image.new("L", (4 * size, 4 * size))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * size - 1, 4 * size - 1), 0.36 * size, fill=255)
    return mask.resize((size, size), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
