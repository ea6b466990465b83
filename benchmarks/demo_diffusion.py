"""How well the demo diffusion model does what sentences say, graded by the oracle, and what its VAE keeps.

A sentence per phrase, "a person with glasses", a few seeds each. Right: the oracle reads the picture as showing the
phrase. Chance: how often a portrait of the training distribution shows it by itself. Pairs: sentences of three
attributes of one random portrait. The oracle grades here and trains nothing.

python benchmarks/demo_diffusion.py [--folder DIR] [--seeds 8] [--steps 15] [--cfg 4] [--sheet FILE.png]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import torch
from _harness import say, table
from semantic_edit.demo.assets import demo_diffusion
from semantic_edit.demo.measure import identity, measure
from semantic_edit.demo.portraits.captions import ATTRIBUTES, attribute_phrases
from semantic_edit.demo.portraits.factors import LIVE_NAMES, as_factors, sample_factors, visibility_mask
from semantic_edit.demo.portraits.render import render
from semantic_edit.editing.common.similarity import psnr
from semantic_edit.models.diffusion.folder import DiffusionBundle, load_diffusion
from semantic_edit.models.diffusion.sampling import sample
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.offline.train_demo.common import r_squared
from semantic_edit.offline.train_demo.sheet import save_sheet
from torch import Tensor

DOING = ("smile", "mouth_open", "yaw")
CELLS = 16  # latent cells of a side
AT_ONCE = 48  # pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--cfg", type=float, default=4.0)
    parser.add_argument("--sampler", default="dpmpp_2m")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    allow_declaring()
    bundle = load_diffusion(options.folder or demo_diffusion())
    vae_figures(bundle)
    people = spoken(sample_factors(2000, torch.Generator().manual_seed(977)))
    started = time.perf_counter()
    asked = [(name, phrase) for name in ATTRIBUTES for phrase in said_of(people, name)]
    texts = [f"a person {phrase if name in DOING else f'with {phrase}'}" for name, phrase in asked]
    pictures = painted(bundle, texts, options)
    by_attribute = defaultdict(list)
    for (name, phrase), some in zip(asked, pictures, strict=True):
        seen, chance = (share_of(each, name, phrase) for each in (read(some), people))
        by_attribute[name].append((phrase, seen, chance))
    rows = []
    for name, entries in by_attribute.items():
        worst = min(entries, key=lambda entry: entry[1])
        means = [sum(entry[k] for entry in entries) / len(entries) for k in (1, 2)]
        rows.append((name, len(entries), f"{means[0]:.2f}", f"{means[1]:.2f}", f"{worst[0]} {worst[1]:.2f}"))
    say(table(("attribute", "phrases", "right", "chance", "worst phrase"), rows))
    seconds = (time.perf_counter() - started) / (len(asked) * options.seeds)
    right = sum(entry[1] for entries in by_attribute.values() for entry in entries) / len(asked)
    say(f"\nmean of {len(asked)} phrases {right:.3f}; {seconds:.2f} s a picture")
    together(bundle, people, options)
    if options.sheet:
        save_sheet(options.sheet, pictures[:, :8].flatten(0, 1), min(8, options.seeds))


def vae_figures(bundle: DiffusionBundle) -> None:
    """PSNR of portraits there and back, and what the oracle and the identity network still read."""
    size = CELLS * bundle.vae.downscale_ratio
    factors = sample_factors(128, torch.Generator().manual_seed(31))
    truth = render(factors, size).images
    images = truth.movedim(1, -1) / 2 + 0.5
    back = bundle.vae.decode(bundle.vae.encode(images)).movedim(-1, 1) * 2 - 1
    live, shown = factors[:, : len(LIVE_NAMES)], visibility_mask(factors)
    scores, best = (r_squared(columns(pictures), live, shown) for pictures in (back, truth))
    before, after = spoken(as_factors(measure(truth))), spoken(as_factors(measure(back)))
    kept = {name: share(before, after, name) for name in ATTRIBUTES}
    same = (identity(truth) * identity(back)).sum(1).mean()
    say(f"VAE, {size} px: PSNR {psnr(back, truth).mean():.2f} dB, identity {same:.3f}\n")
    head = ("factor", "R2 there and back", "R2 of renders", "same phrase read")
    rows = [
        (name, f"{scores[k]:.3f}", f"{best[k]:.3f}", f"{kept[name]:.2f}" if name in kept else "")
        for k, name in enumerate(LIVE_NAMES)
    ]
    say(table(head, rows) + "\n")


def share(before: list[dict], after: list[dict], name: str) -> float:
    """How often a phrase that was read is read again."""
    pairs = [(a[name], b.get(name)) for a, b in zip(before, after, strict=True) if name in a]
    return sum(a == b for a, b in pairs) / max(1, len(pairs))


def together(bundle: DiffusionBundle, people: list[dict[str, str]], options: argparse.Namespace) -> None:
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
        for wanted, pictures in zip(asked, painted(bundle, texts, options, 2), strict=True)
        for entry in read(pictures)
    ]
    each, every = sum(sum(row) for row in found) / (3 * len(found)), sum(all(row) for row in found) / len(found)
    say(f"three at once: {each:.3f} of the phrases, all in {every:.3f} of the pictures")


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
