"""Align Crop and Paste Back: what aligning a tilted face is worth, what a round trip costs, and how long it takes.

Portraits are painted into wider pictures, turned and scaled; each is then cropped in several ways, guessed by the demo
encoder in one pass and drawn again. The likeness of that drawing to its own crop says how well the generator knows what
it was shown. The upright portrait, as it was painted, is the best there can be.

python benchmarks/alignment.py [--portraits 16] [--tilt 30] [--megapixels 24]
"""

from __future__ import annotations

import argparse
import json
import math
import time

import torch
from _harness import machine_facts, say, table
from semantic_edit.demo.assets import demo_file
from semantic_edit.demo.portraits import render, sample_factors
from semantic_edit.editing.common.similarity import psnr
from semantic_edit.editing.photos.crops import Cropping, align, extract_crops
from semantic_edit.editing.photos.detections import Box, Detection, detect_points
from semantic_edit.editing.photos.paste import paste_back
from semantic_edit.editing.photos.warp import inverse_transform, resample
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder

PHOTO = (384, 576)  # height, width
SIDE = 200  # px of an upright portrait in a photo, about
POINTS = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
SEEN, FRAME = 0.97, 0.62  # half the height painted, and that of a portrait, in its own units


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=16)
    parser.add_argument("--tilt", type=float, default=30.0, help="degrees to either side at most")
    parser.add_argument("--megapixels", type=float, default=24.0)
    options = parser.parse_args()
    say(machine_facts())
    likeness(options.portraits, options.tilt)
    speed(options.megapixels)


def likeness(count: int, tilt: float) -> None:
    """PSNR of the encoder's drawing per way of cropping, and the round trip's error."""
    generator = load_generator(demo_file("generators"))
    encoder = load_encoder(demo_file("encoders"))
    factors = sample_factors(count, torch.Generator().manual_seed(7))
    photos, points, boxes = scenes(factors, tilt)
    found = detect_points(json.dumps(points), count, PHOTO)
    size = generator.resolution

    def turned(**settings: object) -> torch.Tensor:
        return extract_crops(photos, align(found, count, PHOTO, size, Cropping(**settings)))[0]

    by_box = align([Detection(k, box) for k, box in enumerate(boxes)], count, PHOTO, size, Cropping(margin=0.45))
    ways = {
        "as painted, upright": (render(factors, size[0]).images.movedim(1, -1) + 1) / 2,
        "points, the generator's framing": turned(framing="demo portraits"),
        "points, not levelled": turned(framing="demo portraits", level=False),
        "points, FFHQ framing": turned(framing="ffhq"),
        "box of the face": extract_crops(photos, by_box)[0],
        "centre": extract_crops(photos, align(None, count, PHOTO, size))[0],
    }
    rows = []
    for name, crops in ways.items():
        pictures = crops.movedim(-1, 1) * 2 - 1
        with torch.no_grad():
            drawn = generator.synthesize(encoder.encode(pictures, generator))
        each = psnr(drawn, pictures)
        rows.append((name, f"{float(each.mean()):.1f} dB", f"{float(each.min()):.1f} dB"))
    say(table(("crop", "likeness of the encoder's drawing", "worst"), rows))
    where = align(found, count, PHOTO, size, Cropping(framing="demo portraits"))
    crops, _ = extract_crops(photos, where)
    back = paste_back(photos, crops, where)
    changed = (back.photos - photos).abs()
    outside = changed[back.masks == 0]
    say(f"round trip of unedited crops: {float(changed[back.masks > 0].mean()):.4f} inside on average (0 to 1), "
        f"{float(outside.max()):g} outside at most; {where.scales.mean():.2f} photo pixels per crop pixel")  # fmt: skip


def scenes(factors: torch.Tensor, tilt: float) -> tuple[torch.Tensor, list, list[Box]]:
    """Photos [N, H, W, 3] in 0..1, their five points, and boxes round the eyes, nose and chin."""
    own = 512
    painted = render(factors, own, half_frame=SEEN)
    rng = torch.Generator().manual_seed(1)
    photos, points, boxes = [], [], []
    names = painted.landmark_names
    chosen = [names.index(name) for name in POINTS]
    for image, marks in zip(painted.images, painted.landmarks.double(), strict=True):
        angle, grown, right, down = (torch.rand(4, generator=rng, dtype=torch.float64) * 2 - 1).tolist()
        scale = SIDE / (own * FRAME / SEEN) * (1 + 0.2 * grown)
        cos, sin = (scale * f(math.radians(tilt * angle)) for f in (math.cos, math.sin))
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        middle = torch.tensor([PHOTO[1] / 2 + 60 * right, PHOTO[0] / 2 + 20 * down], dtype=torch.float64)
        place = torch.cat([turn, (middle - turn @ torch.full((2,), own / 2, dtype=torch.float64))[:, None]], dim=1)
        photos.append(((resample(image, inverse_transform(place), PHOTO) + 1) / 2).clamp(0, 1).movedim(0, -1))
        marks = marks @ turn.t() + place[:, 2]
        points.append(marks[chosen].tolist())
        face = marks[[*chosen, names.index("brow_left"), names.index("brow_right"), names.index("chin")]]
        boxes.append(Box(*face.amin(dim=0).tolist(), *face.amax(dim=0).tolist()))
    return torch.stack(photos), points, boxes


def speed(megapixels: float) -> None:
    """Seconds for one face of a large photo."""
    height = round(math.sqrt(megapixels * 1e6 / 1.5))
    photo = torch.rand(1, height, round(1.5 * height), 3, generator=torch.Generator().manual_seed(0))
    middle = torch.tensor([photo.shape[2] / 2, photo.shape[1] / 2])
    face = [(middle + height / 8 * torch.tensor(at)).tolist() for at in ((-0.5, 0), (0.5, 0.1), (0, 1))]
    found = detect_points(json.dumps(face), 1, tuple(photo.shape[1:3]))
    rows = []
    for side in (128, 512, 1024):
        where = align(found, 1, tuple(photo.shape[1:3]), (side, side))
        start = time.perf_counter()
        crops, _ = extract_crops(photo, where)
        between = time.perf_counter()
        paste_back(photo, crops, where, match="lighting")
        end = time.perf_counter()
        rows.append(
            (f"{side} px", f"{float(where.scales[0]):.2f}", f"{between - start:.2f} s", f"{end - between:.2f} s")
        )
    say(table((f"crop of {megapixels:g} megapixels", "photo px per crop px", "cut", "paste, lighting matched"), rows))


if __name__ == "__main__":
    main()
