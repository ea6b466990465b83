"""Demo photos, as a user would have them: portraits with details that the demo generator has never seen.

Sixteen are shipped as PNG files; ``random_photo`` makes as many more as a benchmark wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from .details import (
    Backdrop,
    CheekStar,
    Detail,
    Earrings,
    HairClip,
    Mole,
    Necklace,
    Plaster,
    ShirtPattern,
    ShirtText,
)
from .factors import FACTORS, INDEX, sample_factors
from .render import Portraits, render

PHOTO_SIZE = 256


@dataclass(frozen=True)
class Photo:
    """One photo: a name, the factors that differ from a random person's of ``seed``, and its details."""

    name: str
    seed: int
    factors: dict[str, float]
    details: tuple[Detail, ...]


PHOTOS: tuple[Photo, ...] = (
    Photo("ada", 11, {"glasses": 0.0, "curl": 0.9, "eye_hue": 0.2, "hair_len": 0.8, "smile": 0.8},
          (Mole(0.45, 0.42), Earrings(), Backdrop("dots", (1.0, 1.0, 1.0)))),
    Photo("bela", 12, {"freckle": 1.0, "hair_hue": 0.5, "hair_light": 0.8, "skin": 0.1, "hat": 0.0, "smile": 0.6},
          (ShirtText("HELLO"), Backdrop("stripes", (0.98, 0.92, 0.75)))),
    Photo("chen", 13, {"eye_hue": 0.0, "part": 0.8, "hair_light": 0.1, "glasses": 1.0},
          (Mole(-0.35, 0.75), ShirtPattern((0.95, 0.95, 0.98)))),
    Photo("dora", 14, {"light": 0.8, "lip": 1.0, "hat": 0.0, "hair_len": 0.6},
          (Necklace(), Earrings((0.96, 0.95, 0.92), hoop=False), Backdrop("window", (0.85, 0.94, 1.0)))),
    Photo("emil", 15, {"pitch": 0.5, "hair_len": 0.05, "freckle": 0.6, "hat": 0.0, "smile": 0.9, "mouth_open": 0.5},
          (Plaster(0.45, 0.30), ShirtText("TEAM 7", (1.0, 0.9, 0.4)))),
    Photo("fatou", 16, {"skin": 0.95, "curl": 1.0, "hair_light": 0.15, "hat": 0.0, "hair_len": 0.5, "eye_hue": 0.1},
          (Earrings((0.95, 0.75, 0.25)), CheekStar(-0.50, 0.30), Backdrop("checks", (1.0, 0.85, 0.55)))),
    Photo("gus", 17, {"hat": 1.0, "head_x": 0.5, "light": -0.7, "smile": 0.5},
          (Mole(0.1, 0.82), Mole(0.6, 0.35, 0.011), Backdrop("hills", (0.45, 0.68, 0.42)))),
    Photo("hana", 18, {"eye_size": 1.0, "hair_len": 0.75, "hat": 0.0, "smile": 0.4, "eye_open": 0.9},
          (HairClip(), Backdrop("dots", (0.98, 0.75, 0.82), 0.14))),
    Photo("ivo", 19, {"light": 0.9, "pitch": -0.4, "glasses": 1.0, "hair_len": 0.1, "yaw": 0.5},
          (ShirtPattern((0.15, 0.18, 0.30), 0.030), Mole(-0.5, 0.5))),
    Photo("juno", 20, {"hair_hue": 0.95, "hair_light": 0.9, "hair_len": 0.9, "lip": 0.9, "hat": 0.0},
          (Necklace((0.45, 0.75, 0.85)), CheekStar(0.52, 0.28, (0.35, 0.65, 0.95)))),
    Photo("kofi", 21, {"skin": 0.85, "glasses": 0.0, "smile": 1.0, "mouth_open": 0.7, "hair_len": 0.0, "hat": 0.0},
          (ShirtText("SUNDAY"), Backdrop("window", (1.0, 0.93, 0.78)))),
    Photo("lena", 22, {"part": -0.9, "freckle": 0.9, "yaw": -0.6, "glasses": 0.0, "hat": 0.0},
          (HairClip((0.30, 0.70, 0.60), -1.0), Backdrop("stripes", (0.70, 0.85, 0.95), 0.06))),
    Photo("milo", 23, {"hat": 1.0, "eye_hue": 1.0, "curl": 0.8, "eye_open": 1.0},
          (Plaster(-0.30, 0.46, (0.55, 0.80, 0.95)), Backdrop("checks", (0.80, 0.88, 0.98), 0.08))),
    Photo("nina", 24, {"head_x": -0.5, "lip": 1.0, "curl": 0.6, "smile": -0.4, "hat": 0.0, "hair_len": 0.7},
          (Mole(0.30, 0.50, 0.012), Earrings((0.9, 0.35, 0.45)))),
    Photo("otto", 25, {"light": -0.9, "hair_len": 0.15, "pitch": 0.4, "hair_light": 0.95, "hair_hue": 1.0},
          (ShirtText("1989", (0.95, 0.55, 0.35)), Backdrop("hills", (0.35, 0.50, 0.72)))),
    Photo("pia", 26, {"eye_size": 0.4, "freckle": 1.0, "hair_hue": 0.55, "hair_len": 0.35, "hat": 0.0, "smile": 0.9},
          (Plaster(0.0, 0.20, (0.98, 0.65, 0.65)), ShirtPattern((1.0, 0.95, 0.85)),
           Backdrop("dots", (0.45, 0.70, 0.62)))),
)  # fmt: skip


def photo_factors(photo: Photo) -> Tensor:
    """Return the factors ``[1, K]`` of a photo."""
    factors = sample_factors(1, torch.Generator().manual_seed(photo.seed))
    for name, value in photo.factors.items():
        factors[:, INDEX[name]] = value
    return factors


def paint_photo(photo: Photo, size: int | tuple[int, int] = PHOTO_SIZE, parts: bool = False) -> Portraits:
    """Render the photo with its truth, a batch of one; ``size`` as for ``render``."""
    return render(photo_factors(photo), size, parts, details=photo.details)


def find_photo(name: str) -> Photo:
    """Return one of the shipped photos by name.

    Raises:
        KeyError: for another name.
    """
    return {photo.name: photo for photo in PHOTOS}[name]


def photo_parts(photos: Sequence[Photo], size: int) -> Tensor:
    """Render the exact part masks ``[N, P, size, size]`` of photos."""
    return torch.cat([paint_photo(photo, size, parts=True).parts for photo in photos])


def random_photo(seed: int) -> Photo:
    """Make up a photo: a random person, random resting factors, one to three details."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def colour() -> tuple[float, float, float]:
        return number(0.2, 1), number(0.2, 1), number(0.2, 1)

    resting = [factor for factor in FACTORS if not factor.live]
    indices = torch.randperm(len(resting), generator=generator)[:3].tolist()
    factors = {resting[i].name: number(resting[i].low, resting[i].high) for i in indices}
    words = ("HELLO", "OCEAN", "LUCKY", "NORTH", "2026", "PIZZA")
    patterns = ("stripes", "dots", "checks", "window", "hills")
    details: list[Detail] = [
        Mole(number(-0.7, 0.7), number(0.25, 0.85), number(0.010, 0.018)),
        Plaster(number(-0.5, 0.5), number(0.2, 0.5), colour()),
        CheekStar(number(-0.6, 0.6), number(0.25, 0.45), colour()),
        Earrings(colour(), number(0, 1) < 0.5),
        HairClip(colour(), 1.0 if number(0, 1) < 0.5 else -1.0),
        Necklace(colour()),
        Backdrop(patterns[int(number(0, 4.999))], colour(), number(0.06, 0.14)),
        ShirtPattern(colour(), number(0.015, 0.035)),
        ShirtText(words[int(number(0, 5.999))], colour()),
    ]
    order = torch.randperm(len(details), generator=generator)[: 1 + int(number(0, 2.999))].tolist()
    return Photo(f"photo {seed}", seed, factors, tuple(details[i] for i in order))


def save_photos(folder: Path) -> list[Path]:
    """Write the shipped photos as PNG files; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for photo in PHOTOS:
        image = rearrange(paint_photo(photo).images[0], "c h w -> h w c")
        pixels = ((image + 1) * 127.5).round().to(torch.uint8).numpy()
        paths.append(folder / f"{photo.name}.png")
        Image.fromarray(pixels).save(paths[-1], optimize=True)
    return paths


def load_photos(folder: Path) -> tuple[tuple[str, ...], Tensor]:
    """Read the names and pictures ``[N, 3, H, W]`` in -1..1 of a folder of equally large PNG files, by name."""
    paths = sorted(folder.glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    images = rearrange(torch.from_numpy(pixels), "n h w c -> n c h w").float() / 127.5 - 1
    return tuple(path.stem for path in paths), images
