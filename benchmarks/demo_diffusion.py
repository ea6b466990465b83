"""How well the demo diffusion model does what sentences say, graded by the oracle, and what its VAE keeps.

A sentence per phrase, "a person with glasses", a few seeds each. Right: the oracle reads the picture as showing the
phrase. Chance: how often a portrait of the training distribution shows it by itself. Together: sentences of three
attributes of one random portrait. The oracle grades here and trains nothing.

python benchmarks/demo_diffusion.py [--folder DIR ...] [--seeds 8] [--steps 15] [--cfg 4] [--sheet FILE.jpg] [--write]

Several folders are compared, one row each; tables by attribute, sheet and page are those of the first.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import torch
from _harness import machine_facts, say, table
from _pages import write_page
from PIL import Image, ImageDraw
from semantic_edit.demo.assets import demo_diffusion
from semantic_edit.demo.measure import identity, measure
from semantic_edit.demo.portraits.captions import ATTRIBUTES, attribute_phrases
from semantic_edit.demo.portraits.factors import INDEX, LIVE_NAMES, as_factors, sample_factors, visibility_mask
from semantic_edit.demo.portraits.render import render
from semantic_edit.editing.common.figures import INK, PAPER, as_picture, font
from semantic_edit.editing.common.similarity import psnr
from semantic_edit.models.diffusion.folder import DiffusionBundle, load_diffusion
from semantic_edit.models.diffusion.sampling import sample
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.offline.train_demo.common import gradient_energy, r_squared
from torch import Tensor

DOING = ("smile", "mouth_open", "yaw")
CELLS = 16  # latent cells of a side
AT_ONCE = 48  # pictures
COLUMNS, GAP, CAPTION = 9, 4, 20  # of the sheet: pictures of a row; pixels between them and below


@dataclass
class Model:
    """One diffusion model, and what was measured of it."""

    label: str
    bundle: DiffusionBundle
    figures: dict[str, str] = field(default_factory=dict)  # of the row that compares models
    tables: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, nargs="*", help="of models; default: the shipped one")
    parser.add_argument("--labels", nargs="*", default=[], help="their names in the table")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--cfg", type=float, default=4.0)
    parser.add_argument("--sampler", default="dpmpp_2m")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--write", action="store_true", help="put the tables on the page of results/")
    options = parser.parse_args()
    allow_declaring()
    folders = options.folder or [demo_diffusion()]
    people = spoken(sample_factors(2000, torch.Generator().manual_seed(977)))
    models = []
    for k, folder in enumerate(folders):
        label = options.labels[k] if k < len(options.labels) else folder.name
        models.append(Model(label, load_diffusion(folder)))
        vae_figures(models[-1])
        phrase_figures(models[-1], people, options, options.sheet if k == 0 else None)
        together(models[-1], people, options)
        say("\n\n".join([*models[-1].tables, ""]))
    head = list(models[0].figures)
    comparison = table(("model", *head), [(model.label, *(model.figures[name] for name in head)) for model in models])
    say(comparison)
    if options.write:
        command = f"python benchmarks/demo_diffusion.py --seeds {options.seeds} --steps {options.steps}"
        write_page("demo_diffusion", "\n\n".join([comparison, *models[0].tables]), command, machine_facts())


def phrase_figures(model: Model, people: list[dict[str, str]], options: argparse.Namespace, sheet: Path | None) -> None:
    """How many phrases are obeyed, attribute by attribute, and whether hats have the colour that was asked for."""
    started = time.perf_counter()
    asked = [(name, phrase) for name in ATTRIBUTES for phrase in said_of(people, name)]
    texts = [f"a person {phrase if name in DOING else f'with {phrase}'}" for name, phrase in asked]
    pictures = painted(model.bundle, texts, options)
    seconds = (time.perf_counter() - started) / (len(asked) * options.seeds)
    readings = [read(some) for some in pictures]
    by_attribute = defaultdict(list)
    for (name, phrase), entries in zip(asked, readings, strict=True):
        by_attribute[name].append((phrase, share_of(entries, name, phrase), share_of(people, name, phrase)))
    rows = []
    for name, entries in by_attribute.items():
        worst = min(entries, key=lambda entry: entry[1])
        means = [sum(entry[k] for entry in entries) / len(entries) for k in (1, 2)]
        rows.append((name, len(entries), f"{means[0]:.2f}", f"{means[1]:.2f}", f"{worst[0]} {worst[1]:.2f}"))
    model.tables.append(table(("attribute", "phrases", "right", "chance", "worst phrase"), rows))
    coloured = [k for k, (name, phrase) in enumerate(asked) if name == "hat" and phrase not in ("a hat", "no hat")]
    right = sum(entry[1] for entries in by_attribute.values() for entry in entries) / len(asked)
    model.figures |= {
        f"mean of {len(asked)} phrases": f"{right:.3f}",
        "hats worn": f"{mean(share_of(readings[k], 'hat', 'a hat') for k in coloured):.2f}",
        "in the colour asked for": f"{mean(share_of(readings[k], 'hat', asked[k][1]) for k in coloured):.2f}",
        "seconds a picture": f"{seconds:.2f}",
    }
    if sheet:
        draw_sheet(sheet, pictures[:, 0], [phrase for _, phrase in asked])


def draw_sheet(path: Path, pictures: Tensor, phrases: list[str]) -> None:
    """Write the first picture of every phrase, unchosen, with the phrase below it."""
    size = pictures.shape[-1]
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (size + GAP) - GAP, rows * (size + CAPTION)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, phrase in enumerate(phrases):
        x, y = k % COLUMNS * (size + GAP), k // COLUMNS * (size + CAPTION)
        sheet.paste(as_picture(pictures[k].clamp(-1, 1).movedim(0, -1) / 2 + 0.5), (x, y))
        draw.text((x + size / 2, y + size + CAPTION / 2), phrase, fill=INK, font=font(11), anchor="mm")
    sheet.save(path, quality=82, optimize=True, progressive=True)


def vae_figures(model: Model) -> None:
    """PSNR of portraits there and back, and what the oracle and the identity network still read."""
    size = CELLS * model.bundle.vae.downscale_ratio
    factors = sample_factors(128, torch.Generator().manual_seed(31))
    truth = render(factors, size).images
    images = truth.movedim(1, -1) / 2 + 0.5
    back = model.bundle.vae.decode(model.bundle.vae.encode(images)).movedim(-1, 1) * 2 - 1
    live, shown = factors[:, : len(LIVE_NAMES)], visibility_mask(factors)
    scores, best = (r_squared(columns(pictures), live, shown) for pictures in (back, truth))
    before, after = spoken(as_factors(measure(truth))), spoken(as_factors(measure(back)))
    kept = {name: share(before, after, name) for name in ATTRIBUTES}
    same = (identity(truth) * identity(back)).sum(1).mean()
    model.figures |= {
        "VAE, PSNR": f"{psnr(back, truth).mean():.1f} dB",
        "gradient energy": f"{gradient_energy(back) / gradient_energy(truth):.2f}",
        "smile behind it, R2": f"{scores[INDEX['smile']]:.3f}",
        "identity": f"{same:.3f}",
    }
    head = ("factor", "R2 there and back", "R2 of renders", "same phrase read")
    rows = [
        (name, f"{scores[k]:.3f}", f"{best[k]:.3f}", f"{kept[name]:.2f}" if name in kept else "")
        for k, name in enumerate(LIVE_NAMES)
    ]
    model.tables.append(table(head, rows))


def share(before: list[dict], after: list[dict], name: str) -> float:
    """How often a phrase that was read is read again."""
    pairs = [(a[name], b.get(name)) for a, b in zip(before, after, strict=True) if name in a]
    return sum(a == b for a, b in pairs) / max(1, len(pairs))


def together(model: Model, people: list[dict[str, str]], options: argparse.Namespace) -> None:
    """Sentences of three attributes of one portrait each, two pictures a sentence."""
    rng = torch.Generator().manual_seed(5)
    asked, texts = [], []
    for person in people[:24]:
        names = [list(person)[i] for i in torch.randperm(len(person), generator=rng)[:3].tolist()]
        having = [person[name] for name in names if name not in DOING]
        doing = [person[name] for name in names if name in DOING]
        texts.append("a person" + (" with " + ", ".join(having) if having else "") + "".join(f", {x}" for x in doing))
        asked.append([(name, person[name]) for name in names])
    found = [
        [holds(entry, name, phrase) for name, phrase in wanted]
        for wanted, pictures in zip(asked, painted(model.bundle, texts, options, 2), strict=True)
        for entry in read(pictures)
    ]
    each, every = sum(sum(row) for row in found) / (3 * len(found)), sum(all(row) for row in found) / len(found)
    model.figures |= {"three at once": f"{each:.2f}", "all three": f"{every:.2f}"}


def painted(bundle: DiffusionBundle, texts: list[str], options: argparse.Namespace, seeds: int | None = None) -> Tensor:
    """Pictures [texts, seeds, 3, H, W] in -1..1; the same seeds for every sentence."""
    seeds = seeds or options.seeds
    negative = bundle.clip.encode_from_tokens_scheduled("")
    said = [bundle.clip.encode(text)[0] for text in texts for _ in range(seeds)]
    settings = {"sampler": options.sampler, "scheduler": "karras", "steps": options.steps, "cfg": options.cfg}
    pictures = []
    for begin in range(0, len(said), AT_ONCE):
        some = said[begin : begin + AT_ONCE]
        places = [place % seeds for place in range(begin, begin + len(some))]
        latent = torch.zeros(len(some), bundle.vae.latent_channels, CELLS, CELLS)
        samples = sample(bundle.model, latent, [[torch.cat(some), {}]], negative, indices=places, **settings)
        pictures.append(bundle.vae.decode(samples).movedim(-1, 1) * 2 - 1)
    return torch.cat(pictures).unflatten(0, (len(texts), seeds))


def said_of(people: list[dict[str, str]], name: str) -> list[str]:
    """Every phrase of an attribute."""
    return sorted({entry[name] for entry in people if name in entry}) + (["a hat"] if name == "hat" else [])


def share_of(entries: list[dict[str, str]], name: str, phrase: str) -> float:
    return sum(holds(entry, name, phrase) for entry in entries) / len(entries)


def read(pictures: Tensor) -> list[dict[str, str]]:
    """What the oracle would say of pictures."""
    return spoken(as_factors(measure(pictures)))


def spoken(factors: Tensor) -> list[dict[str, str]]:
    return [attribute_phrases(row) for row in factors]


def holds(entry: dict[str, str], name: str, phrase: str) -> bool:
    said = entry.get(name, "")
    return said == phrase or (phrase == "a hat" and said.endswith(" hat") and said != "no hat")


def columns(pictures: Tensor) -> Tensor:
    measured = measure(pictures)
    return torch.stack([measured[name] for name in LIVE_NAMES], dim=1)


if __name__ == "__main__":
    main()
