"""One pair, held-out photos: what a slider learned from a single edited portrait does to others, graded by the oracle.

A portrait is rendered without and with a change; its pair teaches the demo diffusion model a slider. Other portraits,
never seen, are brought to the example's state, each by its own strength: a reader made of the same pair (the scorer's
features, never the oracle) says where each stands. Then the oracle grades: who reached the state, the spread that is
left, where the mean lands, identity beside that of the true render (whose own VAE round trip is the ceiling), and the
mean change of every other factor (drift), in its standard deviation over portraits.

Beside our losses stands the plain use of a pair LoRA, as Concept Sliders apply it: the network with the LoRA at +s,
nothing cancelled ("plain LoRA").

    python benchmarks/pair_edit.py                            # glasses, hair length and smile, one pair, 16 photos
    python benchmarks/pair_edit.py --whole --write            # 9 edits, all losses, 1, 4 and 16 pairs, 40 photos
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from _harness import machine_facts, say, table
from _pages import write_page
from semantic_edit.demo.measure import identity, measure
from semantic_edit.demo.portraits.factors import INDEX, sample_factors
from semantic_edit.demo.portraits.render import render
from semantic_edit.editing import PairEdit, PairSettings, apply_pair_edit, learn_pair_edit, reach_state
from semantic_edit.editing.pair.applying import photos_to_noise
from semantic_edit.editing.pair.inversion import noise_levels
from semantic_edit.editing.pair.multiplier import scaled_hooks
from semantic_edit.editing.pair.settings import LOSSES, PairSampling
from semantic_edit.editing.state.example import reader_from_example
from semantic_edit.models.diffusion.folder import load_diffusion
from semantic_edit.models.diffusion.guidance import euler_step
from semantic_edit.models.loading.torchvision_stubs import allow_declaring
from semantic_edit.models.scorers.scorer import load_scorer
from torch import Tensor

DEMO = Path(__file__).resolve().parent.parent / "models/demo"
PLAIN = "plain LoRA"
SIZE = 128  # px
# edit -> (state before, state after)
EDITS = {
    "glasses": (0.0, 1.0), "hair_len": (0.25, 0.85), "smile": (-0.5, 0.8), "hat": (0.0, 1.0),
    "hair_light": (0.2, 0.8), "eye_open": (0.9, 0.4), "yaw": (-0.4, 0.4), "bg_hue": (0.2, 0.6),
    "mouth_open": (0.0, 0.8),
}  # fmt: skip
PRESENT = ("glasses", "hat")  # there or not; the state is reached from one half on
STRENGTHS = (0.0, 2.0, 4.0)  # of the shared curve
CLOSE = 0.5  # of the factor's standard deviation: nearer counts as reached
HEAD = ("edit", "pairs", "way", "reached", "spread", "landing", "identity", "drift", "median strength",
        "drawings a photo", "learning, CPU s", "share")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Task:
    """One edit: its pairs, held-out photos and their true edits, [*, 3, H, W] in -1..1."""

    name: str
    before: Tensor
    after: Tensor
    photos: Tensor
    truth: Tensor
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
    return Task(name, drawn(example, low), drawn(example, high), drawn(others), drawn(others, high), high)


class Studio:
    """The demo model, its scorer, and what portraits vary in."""

    def __init__(self) -> None:
        allow_declaring()
        self.bundle = load_diffusion(DEMO / "diffusion/demo_portraits")
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

    def plain(self, noise: Tensor, edit: PairEdit, strengths: Tensor) -> Tensor:
        """The LoRA at each picture's strength, from its own noise, nothing cancelled."""
        model, levels = self.model, noise_levels(self.model, self.sampling.steps)
        loras, x = edit.loras_for(model), model.latent_in(noise)
        layers = {name: model.network.get_submodule(name) for name in loras}
        condition = model.condition(*self.entry, (1, *x.shape[1:]))
        with scaled_hooks(layers, loras) as slider, slider.at(strengths):
            for sigma, sigma_next in zip(levels[:-1], levels[1:], strict=True):
                x = euler_step(x, model.denoise(x, sigma.expand(len(x)), condition), sigma, sigma_next)
        return model.latent_out(x)

    def row(self, task: Task, way: str) -> list[str]:
        """Learn, bring the photos to the state, grade."""
        settings = PairSettings(loss="two-sided" if way == PLAIN else way)
        latents = self.encode(task.photos)
        started = time.process_time()
        edit = learn_pair_edit(self.model, self.encode(task.before), self.encode(task.after), self.entry, settings)
        seconds = time.process_time() - started
        noise = photos_to_noise(self.model, latents, self.entry, self.sampling)

        def pictures(strengths: Tensor) -> Tensor:
            if way == PLAIN:
                return self.decode(self.plain(noise, edit, strengths / 2))  # +1 alone is half of +1 against -1
            strengths = strengths.float()
            edited = apply_pair_edit(self.model, latents, edit, strengths, self.entry, self.sampling, inverted=noise)
            return self.decode(edited)

        reader = reader_from_example(self.scorer.encode_images, task.before, task.after, self.others)
        target = torch.full((len(latents),), float(reader.of_pictures(self.decode(self.encode(task.after))).mean()))
        reached = reach_state(pictures, reader, target, STRENGTHS, 2)
        facts = self.grade(task, reached.pictures, measure(pictures(torch.zeros(len(latents)))))
        return [
            task.name, str(len(task.before)), way, *facts, f"{float(reached.strengths.median()):.1f}",
            f"{reached.renders / len(latents):.1f}", f"{seconds:.0f}", f"{edit.provenance['share']:.0%}",
        ]  # fmt: skip

    def grade(self, task: Task, pictures: Tensor, unedited: dict[str, Tensor]) -> list[str]:
        factors, name, deviation = measure(pictures), task.name, self.deviation[task.name]
        values = factors[name]
        off = (values - task.target).abs()
        count = int((values > 0.5).sum()) if name in PRESENT else int((off < CLOSE * deviation).sum())
        ceiling = similarity(self.decode(self.encode(task.truth)), task.truth)
        others = [key for key in factors if key not in (name, "hat_hue")]
        drift = sum(float((factors[key] - unedited[key]).abs().mean()) / self.deviation[key] for key in others)
        # Of portraits as they are: what a photo that is encoded and not edited is spread over.
        spread = float(values.std()) / (deviation if name in PRESENT else float(unedited[name].std()))
        return [
            f"{count} of {len(values)}", f"{spread:.2f}", f"{(float(values.mean()) - task.target) / deviation:+.2f}",
            f"{similarity(pictures, task.truth):.2f} of {ceiling:.2f}", f"{drift / len(others):.2f}",
        ]  # fmt: skip


def similarity(pictures: Tensor, truth: Tensor) -> float:
    """Mean similarity of identities."""
    return float((identity(pictures) * identity(truth)).sum(dim=1).mean())


def plan(options: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """Edit, number of pairs and way of each row."""
    if options.whole:
        for name in EDITS:
            yield from ((name, count, LOSSES[0]) for count in (1, 4, 16))
            yield from ((name, 1, way) for way in (*LOSSES[1:], PLAIN))
        return
    yield from ((name, options.pairs, way) for name in options.edits for way in options.ways)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", nargs="+", default=["glasses", "hair_len", "smile"], choices=EDITS)
    parser.add_argument("--ways", nargs="+", default=[LOSSES[0]], choices=[*LOSSES, PLAIN])
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--whole", action="store_true", help="the table of the page, some hours on two cores")
    parser.add_argument("--write", action="store_true", help="put the table on its page")
    options = parser.parse_args()
    studio, rows = Studio(), []
    photos = 40 if options.whole else options.photos
    for name, pairs, way in plan(options):
        rows.append(studio.row(task_of(name, pairs, photos), way))
        say(" | ".join(rows[-1]))
    printed = table(HEAD, rows)
    say(printed)
    if options.write:
        command = "python benchmarks/pair_edit.py" + " --whole" * options.whole
        write_page("pair_edit", printed, command, machine_facts())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
