"""What each way of adapting the generator to a photo keeps, costs, and does to later edits.

outside   PSNR against the photo outside a mask of 12 % of it, nothing composited: mean (worst)
seconds   of one processor core per photo, inversion not counted
file      of one photo's adaptation
edits     of the adapted generator along shipped directions, beside the truth: the renderer paints the same person,
          with the same details, under the factor that the edit moved (as far as the oracle sees it move on the plain
          generator). PSNR of the whole picture / of the region that changes; share of the movement that is left;
          likeness of the person (identity network) to the truth. In brackets: the same with details fixed in place

python benchmarks/adaptation.py [--photos 64] [--edits 16] [--slow 4] [--published 1]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from _harness import machine_facts, say, table
from semantic_edit.demo import identity, measure, render
from semantic_edit.demo.assets import demo_file
from semantic_edit.demo.portraits.factors import INDEX
from semantic_edit.demo.portraits.photos import paint_photo, photo_factors, random_photo
from semantic_edit.demo.readers import resize
from semantic_edit.editing import invert
from semantic_edit.editing.common.figures import as_picture, contact_sheet
from semantic_edit.editing.one_for_all.attributes import fit_to_generator, slide_attribute
from semantic_edit.editing.photos.adaptation import adapt, psnr_outside
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.files.adaptation import write_adaptation
from semantic_edit.models.files.direction import read_direction
from semantic_edit.models.gan.adaptation import with_adaptation
from semantic_edit.models.gan.hooks import FunctionHook
from semantic_edit.models.gan.synthesis_run import SynthesisOptions

_EDITS = {"turn_head": ("yaw", 1.5), "smile": ("smile", 2.0), "long_hair": ("hair_len", 2.0),
          "open_mouth": ("mouth_open", 2.0)}  # fmt: skip
_SIGNED = ("yaw", "smile")
_FIRST = 9000  # seed of the first photo: none of the shipped ones


@dataclass
class Edit:
    """One direction on the photos of the edit columns, and the truth of it."""

    factor: str
    start: torch.Tensor  # [B, L, D]
    codes: torch.Tensor  # [B, L, D], edited
    plain: torch.Tensor  # as the plain generator draws it
    truth: torch.Tensor
    changed: torch.Tensor  # [B, 1, H, W]
    moved: torch.Tensor  # [B], of the factor on the plain generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--edits", type=int, default=16, help="photos that are edited too")
    parser.add_argument(
        "--slow", type=int, default=4, help="photos of the perturbation network; weights: twice as many"
    )
    parser.add_argument("--published", type=int, default=1, help="photos with the paper's numbers; 0: without")
    parser.add_argument("--steps", type=int, default=60, help="of the inversion")
    parser.add_argument("--codes", type=Path, help="keep the inverted codes in this file, or take them from there")
    parser.add_argument("--sheet", type=Path, help="write a picture of the edits here")
    options = parser.parse_args()
    say(machine_facts())
    generator = load_generator(demo_file("generators"))
    size = generator.resolution[0]
    seeds = range(_FIRST, _FIRST + options.photos)
    photos = torch.cat([resize(paint_photo(random_photo(seed)).images, size) for seed in seeds])
    codes = inverted(generator, photos, options)
    mask = torch.zeros(1, 1, size, size)
    mask[..., size * 3 // 8 : size * 47 // 64, size // 3 : size * 2 // 3] = 1
    say(f"{options.photos} photos, mask {float(mask.mean()):.1%}")
    edits = [edit_truth(generator, codes[: options.edits], name) for name in _EDITS]
    sheet: list[list[torch.Tensor]] = [[edit.truth[0] for edit in edits], [edit.plain[0] for edit in edits]]
    plain = ["plain generator", len(photos), outside(generator, codes, photos, mask), "", "", *graded(generator, edits)]
    rows = [plain]
    many, some, few = options.photos, options.edits, options.slow
    adapted = generator
    for label, count, settings in (
        ("residual", many, {"method": "residual"}),
        ("free", some, {"method": "free"}),
        ("free + residual", some, {"method": "residual"}),
        ("weights", 2 * few, {"method": "weights"}),
        ("weights + residual", 2 * few, {"method": "residual"}),
        ("network", few, {"method": "network"}),
        ("network + residual", few, {"method": "residual"}),
        (
            "network, 1000 steps, rate 0.1",
            options.published,
            {"method": "network", "steps": 1000, "learning_rate": 0.1},
        ),
    ):
        if not count:
            continue
        # What is "+ residual" goes on from the row above it. Edits are judged on what was learned without a mask.
        start = adapted if label.endswith("+ residual") else generator
        began = time.process_time()
        result = adapt(start, photos[:count], codes[:count], mask=mask if count == many else None, **settings)
        seconds = (time.process_time() - began) / count
        adapted = adapt(generator, photos[:some], codes[:some]).generator if count == many else result.generator
        values = psnr_outside(result.images, photos[:count], mask)
        figures = f"{float(values.mean()):.1f} ({float(values.min()):.1f})"
        size_kb = file_size(result.generator) / count / 1024
        rows.append([label, count, figures, f"{seconds:.1f}", f"{size_kb:.0f} kB", *graded(adapted, edits)])
        sheet.append([adapted.synthesize(edit.codes[:1])[0] for edit in edits])
        say(" | ".join(str(cell) for cell in rows[-1]))
    edit_columns = ["edits: whole, dB", "changing region, dB", "movement", "person"]
    say(table(["", "photos", "outside, dB", "seconds", "file", *edit_columns], rows))
    below_an_edit(generator, photos, codes)
    other_styles(generator, photos[:4], mask)
    if options.sheet:
        tiles = [[(x.detach().clamp(-1, 1) * 0.5 + 0.5).movedim(0, -1) for x in row] for row in sheet]
        as_picture(contact_sheet(tiles, scale=2)).save(options.sheet)


def inverted(generator, photos, options) -> torch.Tensor:
    """Codes [B, L, D]: the encoder's guess, then an optimisation."""
    if options.codes and options.codes.is_file():
        return torch.load(options.codes, weights_only=True)[: len(photos)]
    encoder = load_encoder(demo_file("encoders"))
    parts = [
        invert(generator, part, start=encoder.encode(part, generator), steps=options.steps).codes
        for part in photos.split(16)
    ]
    codes = torch.cat(parts)
    if options.codes:
        torch.save(codes, options.codes)
    return codes


def edit_truth(generator, codes, name: str) -> Edit:
    """The direction ``name`` on the codes, and what the renderer says it should look like."""
    factor, amount = _EDITS[name]
    direction = fit_to_generator(generator, **read_direction(demo_file("directions", name)))
    with torch.no_grad():
        edited = slide_attribute(codes, direction, amount)
        before, after = generator.synthesize(codes), generator.synthesize(edited)
    moved = measure(after)[factor] - measure(before)[factor]
    size = generator.resolution[0]
    truths, originals = [], []
    for k in range(len(codes)):
        photo = random_photo(_FIRST + k)
        factors = photo_factors(photo)
        originals.append(resize(render(factors, 256, details=photo.details).images, size))
        column = INDEX[factor]
        low = -1.0 if factor in _SIGNED else 0.0
        factors[:, column] = (factors[:, column] + moved[k]).clamp(low, 1.0)
        truths.append(resize(render(factors, 256, details=photo.details).images, size))
    truth, original = torch.cat(truths), torch.cat(originals)
    different = ((truth - original).abs().amax(dim=1, keepdim=True) > 0.1).float()
    return Edit(factor, codes, edited, after, truth, F.max_pool2d(different, 5, 1, 2), moved)


def graded(generator, edits) -> list[str]:
    """The four columns of edits: details that follow, and in brackets details in place."""
    known = len(edits[0].codes) if generator.adaptation is None else len(generator.adaptation)
    count = min(known, len(edits[0].codes))
    codes = edits[0].start[:count]
    columns = [grades(generator, codes, edits, count)]
    if generator.adaptation is not None and generator.adaptation.local:
        fixed = with_adaptation(generator, replace(generator.adaptation, guide=None))
        columns.append(grades(fixed, codes, edits, count))
    digits = (1, 1, 2, 3)
    return [
        f"{columns[0][k]:.{n}f}" + (f" ({columns[1][k]:.{n}f})" if len(columns) > 1 else "")
        for k, n in enumerate(digits)
    ]


def grades(generator, codes, edits, count: int) -> tuple[float, ...]:
    """Mean over edits: PSNR of the whole, of the changing region, share of the movement, likeness of the person."""
    totals = torch.zeros(4)
    with torch.no_grad():
        start = measure(generator.synthesize(codes))
        for edit in edits:
            drawn = generator.synthesize(edit.codes[:count])
            truth, moved = edit.truth[:count], edit.moved[:count]
            got = measure(drawn)[edit.factor] - start[edit.factor]
            region = psnr_outside(drawn, truth, 1 - edit.changed[:count])
            person = (identity(drawn) * identity(truth)).sum(dim=1)
            share = (got * moved).sum() / moved.square().sum()
            totals += torch.stack([psnr_outside(drawn, truth).mean(), region.mean(), share, person.mean()])
    return tuple((totals / len(edits)).tolist())


def outside(generator, codes, photos, mask) -> str:
    """PSNR of the generator's pictures of the codes outside the mask."""
    with torch.no_grad():
        values = psnr_outside(generator.synthesize(codes), photos, mask)
    return f"{float(values.mean()):.1f} ({float(values.min()):.1f})"


def file_size(generator) -> int:
    """Bytes of the saved adaptation."""
    with tempfile.TemporaryDirectory() as folder:
        return write_adaptation(Path(folder) / "a.safetensors", generator.adaptation).stat().st_size


def below_an_edit(generator, photos, codes) -> None:
    """Glasses from features of the same person with glasses: adapted below them, and beforehand."""
    bare = measure(photos)["glasses"] < 0.2
    photos, codes = photos[bare][:32], codes[bare][:32]
    height = generator.resolution[0]
    region = torch.zeros(1, 1, height, height)
    region[..., height * 23 // 64 : height * 41 // 64, height * 13 // 64 : height * 52 // 64] = 1
    direction = fit_to_generator(generator, **read_direction(demo_file("directions", "glasses")))
    layers = tuple(range(2, len(generator.network.synthesis.layers)))
    with torch.no_grad():
        donor = generator.features(slide_attribute(codes, direction, 4.0), layers)

    def put_on(layer: int, x: torch.Tensor) -> torch.Tensor:
        inside = F.adaptive_avg_pool2d(region, tuple(x.shape[2:]))
        return x + (donor[layer] - x) * inside if layer in donor else x

    hook = FunctionHook(put_on, mask=region)
    with torch.no_grad():
        plain = generator.network.synthesis(codes, SynthesisOptions(hook=hook)).image
    say(
        f"Glasses on {len(codes)} photos, {float(region.mean()):.0%} of the picture: the oracle sees them on "
        f"{present(photos)} before, on {present(plain)} as the plain generator paints them"
    )
    below = adapt(generator, photos, codes, "residual", region, hook=hook)
    before = adapt(generator, photos, codes, "residual").generator
    with torch.no_grad():
        later = before.network.synthesis(codes, SynthesisOptions(hook=hook)).image
    for label, drawn in (("adapted below them", below.images), ("adapted once, painted later", later)):
        apart = psnr_outside(drawn, photos, region)
        say(f"{label}: {float(apart.mean()):.1f} dB outside (worst {float(apart.min()):.1f}), seen on {present(drawn)}")


def present(pictures) -> str:
    """On how many the oracle sees glasses."""
    return f"{float((measure(pictures)['glasses'] > 0.5).float().mean()):.0%}"


def other_styles(generator, photos, mask) -> None:
    """Line drawings and posterised pictures, from the encoder's codes: far from anything the generator draws."""
    encoder = load_encoder(demo_file("encoders"))
    for label, pictures in (("line drawings", line_drawing(photos)), ("posterised", posterised(photos))):
        codes = encoder.encode(pictures, generator)
        parts = [f"plain {outside(generator, codes, pictures, mask)}"]
        for method in ("weights", "free", "residual"):
            found = adapt(generator, pictures, codes, method, mask).psnr
            parts.append(f"{method} {float(found.mean()):.1f} ({float(found.min()):.1f})")
        say(f"{len(pictures)} {label}, dB outside the mask: " + ", ".join(parts))


def line_drawing(pictures: torch.Tensor) -> torch.Tensor:
    """Dark lines where the brightness changes, on paper; [B, 3, H, W] in -1..1."""
    grey = pictures.mean(dim=1, keepdim=True)
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    across, down = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    ink = ((across.square() + down.square()).sqrt() * 3 - 0.2).clamp(0, 1)
    return (0.92 - 1.8 * ink).expand(-1, 3, -1, -1).contiguous()


def posterised(pictures: torch.Tensor, levels: int = 4) -> torch.Tensor:
    """Few flat colours; [B, 3, H, W] in -1..1."""
    return ((pictures + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1


if __name__ == "__main__":
    main()
