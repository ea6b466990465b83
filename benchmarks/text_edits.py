"""Sentences on unseen portraits: does the attribute come, and does everything else stay?

    reached   share of portraits that, by the oracle, show what the sentence says after the edit
    amount    mean change of the attribute, in its standard deviation over portraits
    outside   mean absolute change (of 255) away from the parts that have to change, and its share of the plain one's
    drift     mean absolute change of every other attribute, in its standard deviation
    person    similarity of the identity network before and after
    seconds   of training, one process

Every variant is trained on the same 24 sampled portraits and graded on 32 others. "none" is the plain global direction
(StyleCLIP); "one layer" lets a single row and everything from the labelled parts change it (FEAT-like).

python benchmarks/text_edits.py [--sentences 12] [--variants ...] [--steps 80] [--portraits 32] [--sheet FILE]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from _harness import machine_facts, say, table
from PIL import Image
from semantic_edit.demo import measure
from semantic_edit.demo.assets import reader
from semantic_edit.demo.parts import find_parts
from semantic_edit.demo.portraits.scene import PART_NAMES
from semantic_edit.editing.part_labels import PartLabels
from semantic_edit.editing.text_apply import apply_text_edit
from semantic_edit.editing.text_score import TextGoal
from semantic_edit.editing.text_training import TextEditSettings, train_text_edit
from semantic_edit.models import load_generator
from semantic_edit.models.scorer import load_scorer
from semantic_edit.models.torchvision_ops import allow_declaring

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
# sentence: attribute, test of its value, the parts that have to change.
FACE = ("skin", "eyes", "brows", "glasses", "mouth")
SENTENCES = {
    "a person with glasses": ("glasses", lambda v: v > 0.5, ("eyes", "skin", "glasses", "brows")),
    "a smiling person": ("smile", lambda v: v > 0.3, ("mouth", "skin")),
    "a person with a hat": ("hat", lambda v: v > 0.5, ("hat", "hair", "background")),
    "a person with long hair": ("hair_len", lambda v: v > 0.62, ("hair", "background", "clothes")),
    "a person with blond hair": ("hair_hue", lambda v: (v > 0.62) & (v <= 0.87), ("hair",)),
    "a person with dark hair": ("hair_light", lambda v: v <= 0.33, ("hair",)),
    "a person with closed eyes": ("eye_open", lambda v: v <= 0.35, ("eyes", "skin")),
    "a person with the mouth open": ("mouth_open", lambda v: v > 0.55, ("mouth", "skin")),
    "a person with a green background": ("bg_hue", lambda v: (v > 0.25) & (v <= 0.42), ("background",)),
    "a person with raised brows": ("brow", lambda v: v > 0.4, ("brows", "skin")),
    "a person with a red shirt": ("shirt_hue", lambda v: (v <= 0.1) | (v > 0.92), ("clothes",)),
    "a person with a wide face": ("face_w", lambda v: v > 0.67, (*FACE, "hair", "background")),
}
VARIANTS = {
    "none": {"masks": "none"},
    "one layer": {"masks": "regions", "rows": (5,)},
    "regions": {"masks": "regions"},
    "regions, area 0.03": {"masks": "regions", "area": 0.03},
    "regions, mapper": {"masks": "regions", "changes": "mapper"},
    "attention": {"masks": "attention"},
    "attention in regions": {"masks": "attention in regions"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=len(SENTENCES))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--portraits", type=int, default=32)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    allow_declaring()
    say(f"{machine_facts()}; {options.steps} steps, {options.portraits} portraits\n")
    world = World(options.portraits)
    rows, tiles = [], [world.pictures]
    for sentence in list(SENTENCES)[: options.sentences]:
        plain = None
        for name in options.variants:
            figures, images = world.grade(sentence, VARIANTS[name], options.steps)
            plain = figures["outside"] if name == "none" else plain
            relative = "" if plain is None else f"{figures['outside'] / max(plain, 1e-9):.2f}"
            shown = f"{figures['before']:.0%} to {figures['reached']:.0%}"
            rest = (f"{figures['drift']:.2f}", f"{figures['person']:.3f}", f"{figures['seconds']:.0f}")
            rows.append(
                (sentence, name, shown, f"{figures['amount']:+.2f}", f"{figures['outside']:.2f}", relative, *rest)
            )
            say(" | ".join(rows[-1]))
            tiles.append(images)
    head = ("sentence", "masks", "reached", "amount", "outside", "of plain", "drift", "person", "seconds")
    say("\n" + table(head, rows))
    if options.sheet:
        lines = [torch.cat(list(line[:8].clamp(-1, 1)), dim=2) for line in tiles]
        sheet = (torch.cat(lines, dim=1) + 1) * 127.5
        Image.fromarray(sheet.byte().movedim(0, -1).numpy()).save(options.sheet)


class World:
    """Generator, scorer, portraits to learn from and others to grade on."""

    def __init__(self, portraits: int) -> None:
        self.generator = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
        self.scorer = load_scorer(MODELS / "scorers" / "demo_portraits")
        self.learned, _, self.learned_parts = self._portraits(24, 11)
        self.codes, self.pictures, self.parts = self._portraits(portraits, 12)
        self.before = measure(self.pictures)
        self.people = self._people(self.pictures)

    def grade(self, sentence: str, variant: dict, steps: int) -> tuple[dict[str, float], torch.Tensor]:
        attribute, holds, inside = SENTENCES[sentence]
        settings = TextEditSettings(**variant, steps=steps, stop_resolution=64, seed=1)
        goal = TextGoal(self.scorer, sentence)
        began = time.monotonic()
        edit = train_text_edit(self.generator, goal, self.learned, self.learned_parts, sentence, settings).edit
        seconds = time.monotonic() - began
        images = apply_text_edit(self.generator, self.codes, edit, self.parts).images
        after = measure(images)
        others = [name for name in after if name not in (attribute, "hat_hue")]
        drift = [(after[n] - self.before[n]).abs().mean() / self.before[n].std().clamp(min=1e-6) for n in others]
        # What has to change: the true parts before the edit and after it, grown a little.
        new = find_parts(images)
        free = torch.zeros(len(images), *images.shape[2:])
        for part in inside:
            k = PART_NAMES.index(part)
            free = torch.maximum(free, torch.maximum(self.parts.masks[:, k], new[:, k]))
        free = torch.nn.functional.max_pool2d(free[:, None], 7, 1, 3)
        change = (images - self.pictures).abs().mean(dim=1, keepdim=True) * 127.5
        kept = (free < 0.3).float()
        return {
            "before": float(holds(self.before[attribute]).float().mean()),
            "reached": float(holds(after[attribute]).float().mean()),
            "amount": float((after[attribute] - self.before[attribute]).mean() / self.before[attribute].std()),
            "outside": float((change * kept).sum() / kept.sum()),
            "drift": float(torch.stack(drift).mean()),
            "person": float((self._people(images) * self.people).sum(dim=1).mean()),
            "seconds": seconds,
        }, images

    def _portraits(self, count: int, seed: int):
        z = torch.randn(count, self.generator.z_dim, generator=torch.Generator().manual_seed(seed))
        codes = self.generator.map(z)
        pictures = self.generator.synthesize(codes)
        return codes, pictures, PartLabels(find_parts(pictures), tuple(PART_NAMES))

    def _people(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(reader("identity")(pictures), dim=1)


if __name__ == "__main__":
    with torch.no_grad():
        main()
