"""Sentences on unseen portraits: does the attribute come, and does everything else stay?

    reached   share of portraits that, by the oracle, show what the sentence says after the edit
    amount    size of the mean change of the attribute, in its standard deviation over portraits
    outside   mean absolute change (of 255) away from the parts that have to change, and its share of the plain one's
    drift     mean absolute change of every other attribute, in its standard deviation
    realism   Frechet distance (diagonal) between pooled features of edited and unedited portraits
    person    similarity of the identity network before and after
    row       where in the network it acts: the mean row of W+, weighted by how far each row's change shows
    seconds   of training, one process

Every variant is trained on the same 24 sampled portraits and graded on 32 others. "plain" is a direction without
masks, trained by the same score from the same start as the masked ones; "plain, published" is StyleCLIP's recipe
(cosine score, every number of the code by itself, from nothing); "one layer" mixes features at a single hand-picked
layer (32 px) inside one learned mask (FEAT-like); "styles" is a direction of style space (StyleMC-like). Rows are
written as they come, so that a run that is cut short has not run in vain; what a file holds is not measured again.

python benchmarks/text_edits.py [--sentences 15] [--variants ...] [--portraits 32] [--rows FILE.jsonl] [--sheets FOLDER]
    [--picture FILE.jpg]

--picture writes one sheet: six portraits, and what six of the sentences make of them with regions.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from _harness import machine_facts, say, table
from baselines.layer_direction import apply_layer_direction, train_layer_direction
from baselines.style_direction import apply_style_direction, train_style_direction
from edit_one_for_all import feature_statistics, frechet
from PIL import Image
from semantic_edit.demo import measure
from semantic_edit.demo.assets import demo_reader
from semantic_edit.demo.parts import find_parts
from semantic_edit.demo.portraits.scene import PART_NAMES
from semantic_edit.editing.common.figures import as_picture, contact_sheet
from semantic_edit.editing.common.part_labels import PartLabels
from semantic_edit.editing.text.apply import apply_text_edit
from semantic_edit.editing.text.clip_loss import TextGoal
from semantic_edit.editing.text.edit import TextEdit
from semantic_edit.editing.text.figures import region_layer_chart
from semantic_edit.editing.text.masks import row_masks
from semantic_edit.editing.text.settings import TextEditSettings
from semantic_edit.editing.text.training import selection_report, train_text_edit
from semantic_edit.models import load_generator
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.scorer import load_scorer

MODELS = Path(__file__).resolve().parent.parent / "models" / "demo"
# sentence: tests of attributes, and the parts that have to change.
EYEWEAR = ("eyes", "skin", "glasses", "brows")
FACE = ("skin", "eyes", "brows", "glasses", "mouth")
GLASSES, SMILE = ("glasses", lambda v: v > 0.5), ("smile", lambda v: v > 0.3)
HAT, LONG = ("hat", lambda v: v > 0.5), ("hair_len", lambda v: v > 0.62)
DARK = ("hair_light", lambda v: v <= 0.33)
SENTENCES = {
    "a person with glasses": ((GLASSES,), EYEWEAR),
    "a smiling person": ((SMILE,), ("mouth", "skin")),
    "a person with a hat": ((HAT,), ("hat", "hair", "background")),
    "a person with long hair": ((LONG,), ("hair", "background", "clothes")),
    "a person with blond hair": ((("hair_hue", lambda v: (v > 0.62) & (v <= 0.87)),), ("hair",)),
    "a person with dark hair": ((DARK,), ("hair",)),
    "a person with closed eyes": ((("eye_open", lambda v: v <= 0.35),), ("eyes", "skin")),
    "a person with the mouth open": ((("mouth_open", lambda v: v > 0.55),), ("mouth", "skin")),
    "a person with a green background": ((("bg_hue", lambda v: (v > 0.25) & (v <= 0.42)),), ("background",)),
    "a person with raised brows": ((("brow", lambda v: v > 0.4),), ("brows", "skin")),
    "a person with a red shirt": ((("shirt_hue", lambda v: (v <= 0.1) | (v > 0.92)),), ("clothes",)),
    "a person with a wide face": ((("face_w", lambda v: v > 0.67),), (*FACE, "hair", "background")),
    "a person with glasses and a hat": ((GLASSES, HAT), (*EYEWEAR, "hat", "hair", "background")),
    "a smiling person with dark hair": ((SMILE, DARK), ("mouth", "skin", "hair")),
    "a person with glasses and long hair": ((GLASSES, LONG), (*EYEWEAR, "hair", "background", "clothes")),
}  # fmt: skip
VARIANTS = {
    "plain": {"masks": "none"},
    "regions": {"masks": "regions"},
    "regions, area 0.03": {"masks": "regions", "area": 0.03},
    "plain, published": {
        "masks": "none", "coordinates": "plain", "score": "cosine", "start": 0, "rate": 0.05, "steps": 80, "l2": 0.004,
    },
    "styles": {"steps": 80},
    "one layer": {"layer": 5},
    "attention": {"masks": "attention"},
    "attention in regions": {"masks": "attention in regions"},
    "regions, mapper": {"masks": "regions", "changes": "mapper"},
}  # fmt: skip
PICTURED = ("a person with a hat", "a person with long hair", "a smiling person", "a smiling person with dark hair",
            "a person with blond hair", "a person with glasses")  # fmt: skip
HEAD = (
    "sentence",
    "variant",
    "reached",
    "amount",
    "outside",
    "of plain",
    "drift",
    "realism",
    "person",
    "row",
    "seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=len(SENTENCES))
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--portraits", type=int, default=32)
    parser.add_argument("--rows", type=Path, help="a file of measured rows to go on from and to add to")
    parser.add_argument("--sheets", type=Path, help="a folder for pictures")
    parser.add_argument("--picture", type=Path, help="a file for one sheet of the edits that are measured now")
    options = parser.parse_args()
    allow_declaring()
    say(f"{machine_facts()}; {options.portraits} portraits\n")
    known = read(options.rows)
    world = World(options.portraits)
    pictured = {"before": world.pictures}
    for name in options.variants:  # the figures that matter most first
        for sentence in list(SENTENCES)[: options.sentences]:
            if (sentence, name) in known:
                continue
            figures, images, edit = world.grade(sentence, VARIANTS[name])
            known[sentence, name] = figures
            say(" | ".join(row_of(sentence, name, figures, known)))
            for line in [] if edit is None else selection_report(edit):
                say("    " + line)
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(json.dumps({"sentence": sentence, "variant": name, "figures": figures}) + "\n")
            if name == "regions" and sentence in PICTURED:
                pictured[sentence] = images
            if options.sheets:
                save(options.sheets / f"{name}, {sentence}.png", images[:8])
                if edit is not None and edit.selection is not None:
                    chart = region_layer_chart(edit).movedim(-1, 0)[None] * 2 - 1
                    save(options.sheets / f"{name}, {sentence}, rows.png", chart)
    if options.picture:
        rows = [list(pictured[name][:6].clamp(-1, 1).movedim(1, -1) / 2 + 0.5) for name in pictured]
        as_picture(contact_sheet(rows, list(pictured))).save(
            options.picture, quality=85, optimize=True, progressive=True
        )
    done = [(s, v) for s in SENTENCES for v in options.variants if (s, v) in known]
    say("\n" + table(HEAD, [row_of(sentence, name, known[sentence, name], known) for sentence, name in done]))
    say("\n" + table(("variant", "sentences", *HEAD[2:]), [mean_of(v, known) for v in options.variants]))


def read(path: Path | None) -> dict[tuple[str, str], dict[str, float]]:
    """What a file of rows holds."""
    lines = path.read_text().splitlines() if path and path.exists() else []
    entries = [json.loads(line) for line in lines]
    return {(entry["sentence"], entry["variant"]): entry["figures"] for entry in entries}


def row_of(sentence: str, name: str, f: dict[str, float], known: dict) -> tuple[str, ...]:
    """One line of the table."""
    plain = known.get((sentence, "plain"))
    share = "" if plain is None else f"{f['outside'] / max(plain['outside'], 1e-9):.2f}"
    shown = f"{f['before']:.0%} to {f['reached']:.0%}"
    where = f"{f['row']:.1f}" if f.get("row") is not None else ""
    rest = (f"{f['drift']:.2f}", f"{f['realism']:.2f}", f"{f['person']:.3f}", where, f"{f['seconds']:.0f}")
    return (sentence, name, shown, f"{f['amount']:.2f}", f"{f['outside']:.2f}", share, *rest)


def mean_of(name: str, known: dict) -> tuple[str, ...]:
    """The means of one variant over its sentences; shares are means of shares."""
    rows = {sentence: f for (sentence, variant), f in known.items() if variant == name}
    if not rows:
        return (name, "0", *[""] * (len(HEAD) - 2))
    keys = [key for key, value in next(iter(rows.values())).items() if value is not None]
    mean = {key: sum(f[key] for f in rows.values()) / len(rows) for key in keys if key != "row"}
    line = list(row_of("", name, mean, {}))[2:]
    shares = [f["outside"] / known[s, "plain"]["outside"] for s, f in rows.items() if (s, "plain") in known]
    line[3] = f"{sum(shares) / len(shares):.2f}" if shares else ""
    return (name, str(len(rows)), *line)


def save(path: Path, images: torch.Tensor) -> None:
    """Pictures [B, 3, H, W] side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (torch.cat(list(images.clamp(-1, 1)), dim=2) + 1) * 127.5
    Image.fromarray(line.byte().movedim(0, -1).numpy()).save(path)


class World:
    """Generator, scorer, portraits to learn from and others to grade on."""

    def __init__(self, portraits: int) -> None:
        self.generator = load_generator(MODELS / "generators" / "demo_portraits.safetensors")
        self.scorer = load_scorer(MODELS / "scorers" / "demo_portraits")
        self.learned, _, self.learned_parts = self._portraits(24, 11)
        self.codes, self.pictures, self.parts = self._portraits(portraits, 12)
        self.before = measure(self.pictures)
        self.people = self._people(self.pictures)
        self.looks = feature_statistics(self.pictures)

    def grade(self, sentence: str, variant: dict) -> tuple[dict, torch.Tensor, TextEdit | None]:
        """Train one variant, and measure it on the other portraits: figures, pictures, the edit."""
        conditions, inside = SENTENCES[sentence]
        began = time.monotonic()
        images, seconds, edit = self._edited(sentence, dict(variant), began)
        after = measure(images)
        changed = [name for name, _ in conditions]
        others = [name for name in after if name not in (*changed, "hat_hue")]
        drift = [(after[n] - self.before[n]).abs().mean() / self.before[n].std().clamp(min=1e-6) for n in others]
        amounts = [((after[n] - self.before[n]).mean() / self.before[n].std()).abs() for n in changed]
        kept = (self._free(inside, images) < 0.3).float()
        change = (images - self.pictures).abs().mean(dim=1, keepdim=True) * 127.5
        return {
            "before": self._share(conditions, self.before),
            "reached": self._share(conditions, after),
            "amount": float(torch.stack(amounts).mean()),
            "outside": float((change * kept).sum() / kept.sum()),
            "drift": float(torch.stack(drift).mean()),
            "realism": frechet(self.looks, feature_statistics(images)),
            "person": float((self._people(images) * self.people).sum(dim=1).mean()),
            "row": None if edit is None else self._mean_row(edit),
            "seconds": seconds,
        }, images, edit  # fmt: skip

    def _mean_row(self, edit: TextEdit) -> float:
        masks = row_masks(edit, self.generator, self.codes[:8], PartLabels(self.parts.masks[:8], self.parts.names))
        shown = torch.tensor([0.0 if mask is None else float(mask.mean()) for mask in masks])
        shown = shown * edit.offset.norm(dim=1)
        return float((shown * torch.arange(len(shown))).sum() / shown.sum().clamp(min=1e-9))

    def _edited(self, sentence: str, variant: dict, began: float) -> tuple[torch.Tensor, float, TextEdit | None]:
        score = variant.pop("score", "both")
        goal = TextGoal(self.scorer, sentence, score=score)
        if "layer" in variant:
            one = train_layer_direction(
                self.generator, goal, self.learned, self.learned_parts, **variant, stop_resolution=64, seed=1
            )
            seconds = time.monotonic() - began
            return apply_layer_direction(self.generator, self.codes, one, self.parts), seconds, None
        if "masks" not in variant:
            direction = train_style_direction(self.generator, goal, self.learned, **variant, stop_resolution=64, seed=1)
            seconds = time.monotonic() - began
            return apply_style_direction(self.generator, self.codes, direction), seconds, None
        settings = TextEditSettings(**variant, stop_resolution=64, seed=1)
        trained = train_text_edit(self.generator, goal, self.learned, self.learned_parts, sentence, settings)
        seconds = time.monotonic() - began
        images = apply_text_edit(self.generator, self.codes, trained.edit, self.parts).images
        return images, seconds, trained.edit if settings.masks != "none" else None

    def _free(self, inside: tuple[str, ...], images: torch.Tensor) -> torch.Tensor:
        """What has to change: the true parts before the edit and after it, grown a little. [B, 1, H, W]."""
        new = find_parts(images)
        places = [PART_NAMES.index(part) for part in inside]
        free = torch.maximum(self.parts.masks[:, places].amax(dim=1), new[:, places].amax(dim=1))
        return torch.nn.functional.max_pool2d(free[:, None], 7, 1, 3)

    @staticmethod
    def _share(conditions, values: dict[str, torch.Tensor]) -> float:
        return float(torch.stack([holds(values[name]) for name, holds in conditions]).all(dim=0).float().mean())

    def _portraits(self, count: int, seed: int):
        z = torch.randn(count, self.generator.z_dim, generator=torch.Generator().manual_seed(seed))
        codes = self.generator.map(z)
        pictures = self.generator.synthesize(codes)
        return codes, pictures, PartLabels(find_parts(pictures), tuple(PART_NAMES))

    def _people(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(demo_reader("identity")(pictures), dim=1)


if __name__ == "__main__":
    with torch.no_grad():
        main()
