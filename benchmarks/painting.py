"""Objects painted into and out of held-out portraits, graded by the oracle, and joined to photos in several ways.

    painting  per concept and way of painting: present after insert / absent after remove by the oracle; likeness
              outside of the stroke before joining, in dB to the picture before; what is left of a removed object: the
              share of the difference to the truth that points to the object, and its area by the part segmenter
    joining   photos with details that the generator never saw, codes from the encoder alone: by the oracle; likeness
              to the photo outside of the stroke before joining; distance of features of the identity network, which
              nothing here was made with, from the truth; likeness of a removal to the truth round the stroke; for the
              plain and the adapted generator, and linear, Laplacian, Poisson and plain pasting
    ranking   top units of a concept are put out over its mask: is it gone by the oracle, and what else moves
    looks     copied hair, background and clothes: how much of the colour difference is left, what structure stays
    styles    the same on a pencil drawing and on a poster of the photos

    python benchmarks/painting.py [--portraits 64] [--only painting joining ...] [--pictures FOLDER]

The stroke is the region where the renderer would put the object, grown by 6 px of 128: what a person marks roughly.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from _harness import say, table
from PIL import Image
from semantic_edit.demo import measure
from semantic_edit.demo.assets import demo_reader
from semantic_edit.demo.parts import find_parts
from semantic_edit.demo.portraits.factors import INDEX, LIVE_NAMES, sample_factors
from semantic_edit.demo.portraits.photos import random_photo
from semantic_edit.demo.portraits.render import render
from semantic_edit.demo.portraits.scene import PART_NAMES
from semantic_edit.editing.paint.blending import BLENDS, blend, blend_linear, feathered_mask
from semantic_edit.editing.paint.concepts import ConceptUnits
from semantic_edit.editing.paint.painted_photo import Canvas, render_painted_photo, render_painting
from semantic_edit.editing.paint.painting import Painting, UnitStroke, painting_mask
from semantic_edit.editing.paint.strokes import APPEARANCES, copy_appearance, paint_concept
from semantic_edit.editing.photos.adaptation import adapt
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.files.concepts import read_concepts

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
OBJECTS = ("hat", "glasses")
GROWTH = 6  # px
FEW = 16  # portraits for the ways that are there to compare with
FORMS = {
    "donor": ("donor", "medium"),
    "donor, low": ("donor", "low"),
    "donor, high": ("donor", "high"),
    "15 units to their means": ("units", "high"),
    "15 units, published": ("units, published", "high"),
    "4 units, published": ("units, published", "low"),
}


class Bench:
    """The demo models, and the portraits that are painted on."""

    def __init__(self, options) -> None:
        self.generator = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
        self.encoder = load_encoder(MODELS / "encoders" / "demo_portraits.safetensors")
        self.concepts = ConceptUnits(**read_concepts(options.concepts))
        self.count, self.size, self.folder = options.portraits, self.generator.resolution[0], options.pictures

    def portraits(self, concept: str, count: int, seed: int = 777, photos: bool = False):
        """Pictures without and with the concept, and its mask; as plain portraits, or as photos with details."""
        if photos:
            without, with_it, parts = zip(*(self._photo(seed * 1000 + k, concept) for k in range(count)), strict=True)
            without, with_it, parts = torch.cat(without), torch.cat(with_it), torch.cat(parts)
        else:
            factors = sample_factors(count, torch.Generator().manual_seed(seed))
            factors[:, INDEX[concept]] = 0
            there = factors.clone()
            there[:, INDEX[concept]] = 1
            without, full = render(factors, self.size).images, render(there, self.size, parts=True)
            with_it, parts = full.images, full.parts
        mask = parts[:, PART_NAMES.index(concept), None]
        return without, with_it, F.max_pool2d(mask, 2 * GROWTH + 1, 1, GROWTH)[:, 0].clamp(0, 1)

    def _photo(self, seed: int, concept: str):
        photo = random_photo(seed)
        factors = sample_factors(1, torch.Generator().manual_seed(seed))
        for name, value in photo.factors.items():
            factors[:, INDEX[name]] = value
        factors[:, INDEX[concept]] = 0
        without = render(factors, self.size, details=photo.details).images
        factors[:, INDEX[concept]] = 1
        full = render(factors, self.size, parts=True, details=photo.details)
        return without, full.images, full.parts

    def paint(self, concept: str, mask, action: str, way: str = "donor") -> Painting:
        form, level = FORMS[way]
        return paint_concept(self.generator, self.concepts, concept, mask, action, level, form)

    def show(self, name: str, *rows) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        sheet = torch.cat([torch.cat(list(row[:8].clamp(-1, 1)), dim=2) for row in rows], dim=1)
        pixels = ((sheet + 1) * 127.5).round().to(torch.uint8).movedim(0, -1).numpy()
        Image.fromarray(pixels).save(self.folder / f"{name}.png")


def present(pictures, concept: str, action: str) -> float:
    """The share of pictures that are, by the oracle, as the action wants them."""
    there = measure(pictures)[concept] > 0.5
    return float((there if action == "insert" else ~there).float().mean())


def decibels(a, b, weight) -> torch.Tensor:
    """[B] dB over the pixels where ``weight`` [B, 1, H, W] is 1, of pictures in -1..1."""
    weight = weight.expand(len(a), 1, *a.shape[2:])
    error = ((a.clamp(-1, 1) - b.clamp(-1, 1)).square() * weight).sum((1, 2, 3)) / (3 * weight.sum((1, 2, 3))).clamp(
        min=1
    )
    return 10 * torch.log10(4 / error.clamp(min=1e-10))


def left_over(result, truth, before, mask) -> float:
    """How much of the object is still there: the result's difference to the truth along that of the picture before."""
    object_, rest = ((x - truth) * mask[:, None] for x in (before, result))
    share = (object_ * rest).sum((1, 2, 3)) / object_.square().sum((1, 2, 3)).clamp(min=1e-6)
    return float(share.mean())


def painting_table(bench: Bench) -> None:
    rows = []
    for concept in OBJECTS:
        without, with_it, mask = bench.portraits(concept, bench.count)
        beyond = 1 - F.max_pool2d(mask[:, None], 9, 1, 4)
        for action, start, truth in (("insert", without, with_it), ("remove", with_it, without)):
            codes = bench.encoder.encode(start, bench.generator)
            plain = bench.generator.synthesize(codes)
            # The generator's own answer to the truth: what even a perfect removal would look like.
            ideal = bench.generator.synthesize(bench.encoder.encode(truth, bench.generator))
            drawn = {}
            for way in FORMS:
                n = bench.count if way == "donor" else min(FEW, bench.count)
                some = (plain[:n], ideal[:n], mask[:n], beyond[:n])
                pictures = render_painting(bench.generator, codes[:n], bench.paint(concept, mask[:n], action, way))
                drawn[way] = pictures
                outside = float(decibels(pictures, some[0], some[3]).mean())
                row = [f"{action} {concept}", f"{way} ({n})", f"{present(pictures, concept, action):.0%}"]
                row.append(f"{outside:.1f} dB")
                if action == "remove":
                    area = [find_parts(x)[:, PART_NAMES.index(concept)].mean() for x in (pictures, some[0])]
                    row += [f"{left_over(pictures, some[1], some[0], some[2]):.0%}", f"{float(area[0] / area[1]):.1%}"]
                rows.append(row + [""] * (6 - len(row)))
            bench.show(f"{action}_{concept}", start, plain, *drawn.values())
    head = ("", "painted as (portraits)", "by the oracle", "outside, before joining", "left of it", "its area")
    say(table(head, rows))


def features(pictures) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([demo_reader("identity").features(x)[-2].mean((2, 3)) for x in pictures.split(64)])


def distance(pictures, reference) -> float:
    """Frechet distance of two sets of features with diagonal covariance, in per cent of the reference's variance."""
    a, b = features(pictures.clamp(-1, 1)), features(reference)
    apart = (a.mean(0) - b.mean(0)).square() + (a.std(0) - b.std(0)).square()
    return float(apart.sum() / b.var(0).sum()) * 100


def joined(canvas, painting, photo):
    """Our joining, the plain linear one, the two classical ways, and pasting along the stroke."""
    with torch.no_grad():
        raw, where = canvas.draw(painting).clamp(-1, 1), painting_mask(painting, *photo.shape[2:])
        ours = render_painted_photo(canvas, painting, photo).composite
        ways = {name: blend(photo, raw, feathered_mask(where), name) for name in BLENDS}
    return raw, {"linear, keeping details": ours, **ways, "pasted": blend_linear(photo, raw, where)}


def joining_table(bench: Bench) -> None:
    rows = []
    for concept in OBJECTS:
        without, with_it, mask = bench.portraits(concept, bench.count, photos=True)
        for action, start, truth in (("insert", without, with_it), ("remove", with_it, without)):
            codes = bench.encoder.encode(start, bench.generator)
            painting = bench.paint(concept, mask, action)
            adapted = adapt(bench.generator, start, codes).generator
            where = painting_mask(painting, bench.size, bench.size)
            beyond = 1 - where
            soft = feathered_mask(where)
            shown = []
            for label, generator in (("plain", bench.generator), ("adapted", adapted)):
                raw, results = joined(Canvas(generator, codes), painting, start)
                outside = f"{float(decibels(raw, start, beyond).mean()):.1f} dB"
                about = (start, truth, soft, concept, action)
                rows.append(_row(f"{action} {concept}", f"{label}, before joining", raw, *about, outside))
                rows += [_row("", f"{label}, {way}", result, *about, "") for way, result in results.items()]
                shown += [raw, *results.values()]
            bench.show(f"joined_{action}_{concept}", start, *shown, truth)
    head = (
        "",
        "generator, joining",
        "by the oracle",
        "outside the stroke",
        "distance",
        "likeness to the truth",
        "seam",
    )
    say(table(head, rows))
    say("seam: mean step between neighbouring pixels in the soft edge of the joint, over that of the truth")


def _row(title, label, result, start, truth, soft, concept, action, outside):
    near = (soft > 0.01).float()
    like = float(decibels(result, truth, near).mean()) if action == "remove" else None
    edge = ((soft > 0.02) & (soft < 0.98)).float()
    return [
        title, label, f"{present(result, concept, action):.0%}", outside, f"{distance(result, truth):.2f}",
        "" if like is None else f"{like:.1f} dB", f"{steps(result, edge) / steps(truth, edge):.2f}",
    ]  # fmt: skip


def steps(pictures, weight) -> float:
    across = (pictures[..., 1:] - pictures[..., :-1]).abs().mean(1, keepdim=True) * weight[..., 1:]
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).abs().mean(1, keepdim=True) * weight[..., 1:, :]
    return float(across.sum() + down.sum()) / float(weight.sum())


def ranking_table(bench: Bench) -> None:
    rows, generator = [], bench.generator
    spread = {name: values.std() for name, values in measure(render(sample_factors(
        256, torch.Generator().manual_seed(5)), bench.size).images).items()}  # fmt: skip
    for concept in OBJECTS:
        _, with_it, mask = bench.portraits(concept, bench.count)
        codes = bench.encoder.encode(with_it, generator)
        before = measure(generator.synthesize(codes))
        p = bench.concepts.index(concept)
        order = {
            "effect": bench.concepts,
            "overlap (IoU)": replace(bench.concepts, effect=bench.concepts.iou),
            "random": replace(bench.concepts, effect=shuffled(bench.concepts.effect)),
        }
        for name, concepts in order.items():
            for count in (4, 15, 40):
                units = list(concepts.ranked(concept, count))
                stroke = UnitStroke(mask, concepts.layer, units, concepts.outside[p, units])
                after = measure(render_painting(generator, codes, Painting((stroke,))))
                gone = float((after[concept] < 0.5).float().mean())
                others = [n for n in LIVE_NAMES if n not in (concept, f"{concept}_hue")]
                moved = sum(float((after[n] - before[n]).abs().mean() / spread[n]) for n in others) / len(others)
                rows.append(
                    [concept, name, count, f"{gone:.0%}", f"{float(after[concept].mean()):.2f}", f"{moved:.2f}"]
                )
    say(
        table(
            ("concept", "ranked by", "units put out", "gone by the oracle", "mean reading", "others moved by (std)"),
            rows,
        )
    )


def shuffled(effect):
    return torch.rand(effect.shape, generator=torch.Generator().manual_seed(1))


def looks_table(bench: Bench) -> None:
    rows, count = [], min(bench.count, 32)
    pictures = render(sample_factors(2 * count, torch.Generator().manual_seed(31)), bench.size, parts=True)
    codes = bench.encoder.encode(pictures.images, bench.generator)
    target, reference = codes[:count], codes[count:]
    drawn = bench.generator.synthesize(codes)
    for part in ("hair", "background", "clothes"):
        masks = (pictures.parts[:, PART_NAMES.index(part)] > 0.5).float()
        good = (masks.amax((1, 2)) > 0)[:count] & (masks.amax((1, 2)) > 0)[count:]
        grown = F.max_pool2d(masks[:count, None], 3, 1, 1)[:, 0]
        own, other = (mean_colour(x, m) for x, m in ((drawn[:count], masks[:count]), (drawn[count:], masks[count:])))
        shown = []
        for form in APPEARANCES:
            painting = copy_appearance(bench.generator, target, grown, reference, masks[count:], form)
            result = render_painting(bench.generator, target, painting)
            shown.append(result)
            reached = (mean_colour(result, masks[:count]) - other)[good].abs().mean() / (own - other)[good].abs().mean()
            inner = masks[:count, None]
            kept = correlation(result, drawn[:count], inner)[good].mean()
            beyond = 1 - F.max_pool2d(grown[:, None], 5, 1, 2)
            outside = decibels(result, drawn[:count], beyond).mean()
            rows.append([part, form, f"{float(reached):.0%}", f"{float(kept):.2f}", f"{float(outside):.1f} dB"])
        bench.show(f"look_{part}", drawn[:count], drawn[count:], *shown)
    say(table(("region", "form", "colour difference left", "structure kept (correlation)", "outside"), rows))


def mean_colour(pictures, masks):
    return (pictures * masks[:, None]).sum((2, 3)) / masks.sum((1, 2))[:, None].clamp(min=1)


def correlation(a, b, mask):
    """[B]: how much the brightness inside the mask still follows the same pattern."""
    weight = mask / mask.sum((2, 3), keepdim=True).clamp(min=1)
    a, b = (x.mean(1, keepdim=True) - (x.mean(1, keepdim=True) * weight).sum((2, 3), keepdim=True) for x in (a, b))
    return (a * b * weight).sum((1, 2, 3)) / ((a * a * weight).sum((1, 2, 3)) * (b * b * weight).sum((1, 2, 3))).sqrt()


def styles_table(bench: Bench) -> None:
    rows, count = [], min(bench.count, 16)
    for style, change in (("pencil drawing", drawing), ("poster", poster)):
        for concept in OBJECTS:
            without, with_it, mask = bench.portraits(concept, count, photos=True)
            for action, start, truth in (
                ("insert", change(without), change(with_it)),
                ("remove", change(with_it), change(without)),
            ):
                codes = bench.encoder.encode(start, bench.generator)
                painting = bench.paint(concept, mask, action)
                adapted = adapt(bench.generator, start, codes).generator
                where = painting_mask(painting, bench.size, bench.size)
                cells, shown = [], [start]
                with torch.no_grad():
                    for generator in (bench.generator, adapted):
                        raw = Canvas(generator, codes).draw(painting).clamp(-1, 1)
                        cells.append(f"{float(decibels(raw, start, 1 - where).mean()):.1f} dB")
                    for tones in (False, True):
                        canvas = Canvas(adapted, codes)
                        result = render_painted_photo(canvas, painting, start, tones=tones).composite
                        near = (feathered_mask(where) > 0.01).float()
                        like = float(decibels(result, truth, near).mean())
                        cells += [f"{present(result, concept, action):.0%}", f"{like:.1f} dB"]
                        shown.append(result)
                kept = f"{1 - present(start, concept, action):.0%}"
                rows.append([style, f"{action} {concept}", kept, *cells])
                bench.show(f"{style.split()[0]}_{action}_{concept}", *shown)
    head = (
        "style", "", "oracle reads the start rightly", "outside, plain", "outside, adapted",
        "by the oracle", "likeness to the truth", "by the oracle, tones matched", "likeness to the truth",
    )  # fmt: skip
    say(table(head, rows))


def drawing(pictures):
    """Grey lines on paper: brightness against its blurred self, as a pencil would have it."""
    grey = pictures.mean(1, keepdim=True)
    blurred = F.avg_pool2d(F.pad(grey, (3,) * 4, mode="replicate"), 7, 1)
    return (0.8 + 1.6 * (grey - blurred) + 0.25 * grey).clamp(-1, 1).expand(-1, 3, -1, -1).contiguous()


def poster(pictures):
    """Four steps of each colour, stronger contrast."""
    return ((pictures.clamp(-1, 1) * 1.2).clamp(-1, 1) * 1.5).round() / 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = {
        "painting": painting_table, "joining": joining_table, "ranking": ranking_table, "looks": looks_table,
        "styles": styles_table,
    }  # fmt: skip
    parser.add_argument("--portraits", type=int, default=64)
    parser.add_argument("--only", nargs="*", choices=list(tables), default=list(tables))
    parser.add_argument("--pictures", type=Path, help="folder for sheets to look at")
    parser.add_argument("--concepts", type=Path, default=MODELS / "concepts" / "demo_portraits.safetensors")
    options = parser.parse_args()
    bench = Bench(options)
    for name in options.only:
        say(f"\n{name}\n")
        tables[name](bench)


if __name__ == "__main__":
    main()
