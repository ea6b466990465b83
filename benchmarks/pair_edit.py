"""One pair, held-out photos: what a slider learned from a single edited portrait does to others, graded by the oracle.

A portrait is rendered without and with a change; its pair teaches the demo diffusion model a slider. Other portraits,
never seen, are brought to the example's state, each by its own strength: a reader made of the same pair (the scorer's
features, never the oracle) says where each stands, and strengths have their usual price, so that nobody is pushed on
where the edit has done what it can. Then the oracle grades: who reached the state, how many at one strength for all
(that of the shared curve's middle), the spread that is left, where the mean lands, identity beside that of the true
render that goes as far (the VAE's round trip of the full edit is the ceiling), and the mean change of every other
factor (drift), in its standard deviation over portraits.

Beside our losses stand peers, at published and at fitted rates: see `_pair_ways`.

Each row is kept in a file (``--rows``) as soon as it is measured, and is not measured again on the same model: the
table may be made in parts. ``--minutes`` begins no further row after that time.

    python benchmarks/pair_edit.py                             # glasses, hair length and smile, one pair, 16 photos
    python benchmarks/pair_edit.py --whole --minutes 50        # the rows of the page, the most telling ones first
    python benchmarks/pair_edit.py --whole --minutes 0 --write # the page, of the rows that are there
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from _edit_pairs_demo import people_as_far
from _harness import machine_facts, say, table
from _pages import write_page
from _pair_ways import SENTENCES, WAYS, Way, drawing, learned
from semantic_edit.demo.measure import identity, measure
from semantic_edit.demo.portraits.factors import INDEX, sample_factors
from semantic_edit.demo.portraits.render import render
from semantic_edit.editing import PairEdit, PairSettings, reach_state
from semantic_edit.editing.common.diffusion.ode_inversion import noise_levels
from semantic_edit.editing.pair.applying import photos_to_noise
from semantic_edit.editing.pair.localize import localize_pair_edit
from semantic_edit.editing.pair.settings import LOSSES, PairSampling
from semantic_edit.editing.state import reader_from_example
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.diffusion.guidance import euler_step
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.scorer import load_scorer
from torch import Tensor

DEMO = Path(__file__).resolve().parent.parent / "models/demo"
DIFFUSION = DEMO / "diffusion/demo_portraits"
SIZE = 128  # px
# edit -> (state before, state after)
EDITS = {
    "glasses": (0.0, 1.0), "hair_len": (0.25, 0.85), "smile": (-0.5, 0.8), "hat": (0.0, 1.0),
    "hair_light": (0.2, 0.8), "eye_open": (0.9, 0.4), "yaw": (-0.4, 0.4), "bg_hue": (0.2, 0.6),
    "mouth_open": (0.0, 0.8),
}  # fmt: skip
DEFAULT = ("glasses", "hair_len", "smile")
PRESENT = ("glasses", "hat")  # there or not; the state is reached from one half on
STRENGTH_PENALTY = 2.0  # as Plan Strengths has it
MANY = 40  # photos
CLOSE = 0.5  # of the factor's standard deviation: nearer counts as reached
HEAD = ("edit", "pairs", "way", "reached", "at one strength", "spread", "landing", "identity", "drift",
        "median strength", "drawings a photo", "learning, CPU s", "share")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Task:
    """One edit: its pairs, held-out photos and their true edits, [*, 3, H, W] in -1..1, and the photos' factors."""

    name: str
    before: Tensor
    after: Tensor
    photos: Tensor
    truth: Tensor
    factors: Tensor
    target: float


def task_of(name: str, pairs: int, photos: int) -> Task:
    """The pairs come from one seed, the photos from another; nobody wears a hat where hair or glasses count."""
    low, high = EDITS[name]
    column = INDEX[name]

    def faces(count: int, seed: int) -> Tensor:
        factors = sample_factors(20 * count + 40, torch.Generator().manual_seed(seed))
        if name != "hat":
            factors = factors[factors[:, INDEX["hat"]] < 0.5]
        if name in PRESENT:
            factors = factors[factors[:, column] < 0.5]
        return factors[:count]

    def drawn(factors: Tensor, state: float | None = None) -> Tensor:
        factors = factors.clone()
        if state is not None:
            factors[:, column] = state
        return render(factors, SIZE).images

    example, others = faces(pairs, 5), faces(photos, 808)
    return Task(name, drawn(example, low), drawn(example, high), drawn(others), drawn(others, high), others, high)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Photos of an edit as every way begins with them: latents, their noise, and the pictures that come of it."""

    latents: Tensor
    noise: Tensor
    unedited: Tensor
    factors: dict[str, Tensor]  # of those


class Studio:
    """The demo model, its scorer, and what portraits vary in."""

    def __init__(self, folder: Path = DIFFUSION) -> None:
        allow_declaring()
        self.bundle = load_diffusion(folder)
        self.model, self.entry = self.bundle.model, self.bundle.clip.encode("a person")
        self.scorer = load_scorer(DEMO / "scorers/demo_portraits")
        self.sampling = PairSampling(at_once=16)
        self.others = render(sample_factors(60, torch.Generator().manual_seed(77)), SIZE).images
        factors = measure(render(sample_factors(400, torch.Generator().manual_seed(9)), SIZE).images)
        self.deviation = {name: float(column.std()) for name, column in factors.items()}

    def encode(self, pictures: Tensor) -> Tensor:
        return self.bundle.vae.encode((pictures.movedim(1, -1) + 1) / 2)

    def decode(self, latents: Tensor) -> Tensor:
        return self.bundle.vae.decode(latents).movedim(-1, 1) * 2 - 1

    @functools.lru_cache(maxsize=2)  # noqa: B019  (one studio lives as long as the script)
    def held_out(self, name: str, photos: int) -> HeldOut:
        """Photos, encoded and inverted once for all ways."""
        latents = self.encode(task_of(name, 1, photos).photos)
        noise = photos_to_noise(self.model, latents, self.entry, self.sampling)
        unedited = self.decode(self._back(noise))
        return HeldOut(latents, noise, unedited, measure(unedited))

    def _back(self, noise: Tensor) -> Tensor:
        """The photos that come of their noise without any edit."""
        model, x = self.model, self.model.latent_in(noise)
        levels, condition = noise_levels(model, self.sampling.steps), model.condition(*self.entry, (1, *x.shape[1:]))
        for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
            x = euler_step(x, model.denoise(x, sigma.expand(len(x)), condition), sigma, sigma_next)
        return model.latent_out(x)

    def row(self, name: str, pairs: int, label: str, photos: int) -> list[str]:
        """Learn, bring the photos to the state, grade."""
        task, way, start = task_of(name, pairs, photos), WAYS[label], self.held_out(name, photos)
        edit, seconds = self.learned(name, pairs, way)
        draw = drawing(self.bundle, way, edit, self.entry, SENTENCES[name], self.sampling)
        unedited = start.unedited if edit is not None else self.decode(start.latents)

        def pictures(strengths: Tensor, index: Tensor | None = None) -> Tensor:
            index = torch.arange(photos) if index is None else index
            return self.decode(draw(start.latents[index], start.noise[index], strengths))

        middle = way.fixed or way.strengths[1]
        alike = pictures(torch.full((photos,), middle))
        reader = reader_from_example(self.scorer.encode_images, task.before, task.after, self.others)
        target = torch.full((photos,), float(reader.of_pictures(self.decode(self.encode(task.after))).mean()))
        if way.fixed is None:
            reached = reach_state(
                pictures, reader, target, way.strengths, 2, unedited=unedited, render_some=pictures,
                strength_penalty=STRENGTH_PENALTY,
            )  # fmt: skip
            final, median = reached.pictures, float(reached.strengths.median())
            drawings = reached.renders / photos
        else:
            final, median, drawings = alike, way.fixed, 1.0
        share = edit.provenance.get("share") if edit is not None else None
        return [
            name, str(pairs), label, *self.grade(task, final, alike, start),
            f"{median:.1f}", f"{drawings:.1f}", f"{seconds:.0f}", "" if share is None else f"{share:.0%}",
        ]  # fmt: skip

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _learned(self, name: str, pairs: int, settings: PairSettings | None, after_only: bool):
        task, started = task_of(name, pairs, 1), time.process_time()
        way = Way(settings, after_only=after_only)
        edit = learned(self.bundle, way, self.encode(task.before), self.encode(task.after), self.entry)
        return edit, time.process_time() - started

    def learned(self, name: str, pairs: int, way: Way) -> tuple[PairEdit | None, float]:
        """Return a slider and the seconds that learning it took; ways that differ in the drawing alone share one."""
        edit, seconds = self._learned(name, pairs, way.settings, way.after_only)
        if not way.localized:
            return edit, seconds
        task, started = task_of(name, pairs, 1), time.process_time()
        pair = self.encode(task.before), self.encode(task.after)
        localized = localize_pair_edit(self.model, edit, *pair, self.entry)
        say(f"  {name}, {pairs}: {localized.report()}")
        return localized.edit, seconds + time.process_time() - started

    def grade(self, task: Task, pictures: Tensor, alike: Tensor, start: HeldOut) -> list[str]:
        factors, name, deviation = measure(pictures), task.name, self.deviation[task.name]
        values, unedited = factors[name], start.factors
        ceiling = similarity(self.decode(self.encode(task.truth)), identity(task.truth))
        people = people_as_far(task.factors, name, values, SIZE)
        others = [key for key in factors if key not in (name, "hat_hue")]
        drift = sum(float((factors[key] - unedited[key]).abs().mean()) / self.deviation[key] for key in others)
        # Of portraits as they are: what a photo that is encoded and not edited is spread over.
        spread = float(values.std()) / (deviation if name in PRESENT else float(unedited[name].std()))
        return [
            f"{self.count(task, values)} of {len(values)}", f"{self.count(task, measure(alike)[name])}",
            f"{spread:.2f}", f"{(float(values.mean()) - task.target) / deviation:+.2f}",
            f"{similarity(pictures, people):.2f} of {ceiling:.2f}", f"{drift / len(others):.2f}",
        ]  # fmt: skip

    def count(self, task: Task, values: Tensor) -> int:
        """How many reached the state."""
        if task.name in PRESENT:
            return int((values > 0.5).sum())
        return int(((values - task.target).abs() < CLOSE * self.deviation[task.name]).sum())


def similarity(pictures: Tensor, people: Tensor) -> float:
    """Mean similarity of pictures to identities."""
    return float((identity(pictures) * people).sum(dim=1).mean())


class Rows:
    """Measured rows of a file, of this model; one more is on the disk at once."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        weights = [(folder / part / "diffusion_pytorch_model.safetensors").read_bytes() for part in ("unet", "vae")]
        self.model = hashlib.sha256(b"".join(weights)).hexdigest()[:12]
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.rows = {self.key(*line["key"]): line["row"] for line in lines if line["model"] == self.model}

    @staticmethod
    def key(name: str, pairs: int, way: str, photos: int) -> tuple[str, int, str, int]:
        return name, pairs, way, photos

    def add(self, key: tuple[str, int, str, int], row: list[str]) -> None:
        self.rows[key] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"model": self.model, "key": key, "row": row}) + "\n")


def plan(options: argparse.Namespace) -> Iterator[tuple[str, int, str, int]]:
    """Edit, number of pairs, way and number of photos of each row, the most telling ones first."""
    photos = options.photos
    if not options.whole:
        yield from ((name, options.pairs, way, photos) for name in options.edits for way in options.ways)
        return
    both, losses = (LOSSES[0], f"{LOSSES[0]}, plain"), LOSSES[1:4]
    peers = [way for way in WAYS if way.endswith(("fitted", "published"))]
    narrowed = [way for way in WAYS if way.startswith(LOSSES[0]) and way not in both]
    threshold = [f"{way}, threshold" for way in both]
    yield from ((name, 1, way, photos) for name in DEFAULT for way in both)
    yield from ((name, 4, way, photos) for name in DEFAULT for way in both)
    yield from ((name, 1, way, photos) for name in EDITS if name not in DEFAULT for way in both)
    yield from ((name, 16, way, photos) for name in DEFAULT for way in both)
    yield from (("glasses", 1, way, photos) for way in (*losses, *peers) if not way.endswith("published"))
    yield from (("glasses", 1, way, photos) for way in peers if way.endswith("published"))
    yield from ((name, 1, way, photos) for name in (*DEFAULT, "bg_hue") for way in narrowed)
    yield from ((name, 4, way, photos) for name in DEFAULT for way in threshold)
    yield from ((name, pairs, way, MANY) for name in DEFAULT for pairs in (1, 4) for way in (*both, *threshold))
    yield from ((name, 1, way, photos) for name in DEFAULT[1:] for way in (*losses, *peers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", nargs="+", default=DEFAULT, choices=EDITS)
    parser.add_argument("--ways", nargs="+", default=[LOSSES[0]], choices=WAYS)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--whole", action="store_true", help="the table of the page, an hour or two on one core")
    parser.add_argument("--rows", type=Path, default=Path("pair_edit_rows.jsonl"), help="measured rows, to go on from")
    parser.add_argument("--folder", type=Path, default=DIFFUSION, help="the diffusion model, a diffusers folder")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further row after these")
    parser.add_argument("--write", action="store_true", help="put the table on its page")
    options = parser.parse_args()
    rows, studio, started, lines = Rows(options.rows, options.folder), None, time.monotonic(), []
    for row in plan(options):
        key = Rows.key(*row)
        if key not in rows.rows and time.monotonic() - started < 60 * options.minutes:
            studio = studio or Studio(options.folder)
            rows.add(key, studio.row(*key))
            say(" | ".join(rows.rows[key]))
        lines += [rows.rows[key]] if key in rows.rows else []
    printed = table(HEAD, lines)
    say(printed)
    if options.write:
        command = "python benchmarks/pair_edit.py" + " --whole" * options.whole
        write_page("pair_edit", printed, command, machine_facts())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
