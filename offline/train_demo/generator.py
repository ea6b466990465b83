"""Supervised training of the demo generator: the pack's StyleGAN2 paints what the renderer paints for the same sample.

A supervised recipe, chosen because it takes hours on two CPU cores where an adversarial one takes days. Phase one
learns 64 pixels, phase two grows to 128 and drops the loss that ties w to the factors; with that the W space is
learned. ``sharpening`` then keeps it and makes the pictures sharp.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ...demo.portraits.factors import Z_DIM, factors_from_z
from ...demo.portraits.render import render
from ...demo.readers import PortraitReader, load_reader
from ...editing.common.similarity import psnr
from ...models.checkpoint import parse_json, read_safetensors, write_safetensors
from ...models.gan.generator import load_generator, save_generator
from ...models.gan.stylegan2 import StyleGAN2
from ...models.gan.stylegan2_config import StyleGAN2Config
from ...models.gan.synthesis_run import SynthesisOptions
from .common import TrainingRun, sample_z, set_rate, warm_cosine
from .data_parallel import ThreadedDataParallel
from .losses import feature_loss, picture_loss
from .mapping_start import MappingTarget, start_mapping
from .readers import train_regressor
from .render_cache import RenderCache
from .resumable import tensors_under
from .sharpening.sharpen import check_start, sharpen_generator
from .sheet import save_sheet

CHANNELS = (160, 160, 160, 96, 48, 32)
W_DIM = 128
BATCH = 16


@dataclass(frozen=True)
class Phase:
    """A phase of training at one size."""

    name: str
    size: int
    steps: int
    rate: float
    hold: float  # share of the steps at the full rate
    last_rate: float  # share of the rate at the end
    mapping_weight: float  # of the loss that keeps w near its start
    capacity: int  # renders cached
    replay: int  # times that each is served


PHASES = (
    Phase("64 px", 64, 6500, 3e-3, 0.6, 0.25, 0.05, 6144, 3),
    Phase("128 px", 128, 4800, 2e-3, 0.3, 0.0, 0.0, 4096, 4),
)
_SMOKE = (
    Phase("16 px", 16, 2, 3e-3, 0.5, 0.25, 0.05, 128, 3),
    Phase("32 px", 32, 2, 2e-3, 0.25, 0.0, 0.0, 128, 4),
)


def build_network(size: int, rng: torch.Generator) -> StyleGAN2:
    """Build an untrained generator of ``size`` pixels."""
    blocks = size.bit_length() - 2
    return StyleGAN2(
        StyleGAN2Config(z_dim=Z_DIM, w_dim=W_DIM, channels=CHANNELS[:blocks], mapping_layers=4, lr_multiplier=1.0), rng
    )


def train_generator(run: TrainingRun) -> None:
    """Learn a W space, unless OUT/generator.safetensors brings one, and sharpen the synthesis behind it.

    ``--resume`` goes on from the last saved step. Trains the regressor first if OUT lacks it.

    Raises:
        InputError: OUT/generator.safetensors is too small a generator.
    """
    torch.manual_seed(run.seed)  # the synthesis draws its training noise from torch's own state
    start = run.out / "generator.safetensors"
    network = load_generator(start).network if start.is_file() else None
    if network is not None:
        check_start(network, run.smoke)
    reader = feature_reader(run)
    if network is None:
        train_w_space(run, reader, start)
        network = load_generator(start).network
    sharpening = sharpen_generator(run, network, reader)
    path = run.out / "portraits.safetensors"
    facts = run.provenance(images=sharpening.images, seconds=round(sharpening.seconds), started_from=file_digest(start))
    save_generator(path, sharpening.network, facts, half=True)
    run.say(f"wrote {path.name} after {sharpening.images} pictures")


def train_w_space(run: TrainingRun, reader: PortraitReader, path: Path) -> None:
    """Train all phases and write the generator, still soft, to ``path``."""
    training = GeneratorTraining(run, reader)
    for index, phase in enumerate(_SMOKE if run.smoke else PHASES):
        training.train(index, phase)
    track_w_mean(training.average, torch.Generator().manual_seed(run.seed), 500 if run.smoke else 20000)
    save_generator(path, training.average, run.provenance(images=training.images), half=True)
    run.say(f"wrote {path.name} after {training.images} pictures")


def file_digest(path: Path) -> str:
    """Return the first twelve hexadecimal digits of a file's SHA-256, to name it by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def track_w_mean(network: StyleGAN2, rng: torch.Generator, count: int) -> None:
    """Set the tracked mean of W from ``count`` samples."""
    with torch.no_grad():
        codes = torch.cat([network.mapping(z) for z in sample_z(count, rng).split(4096)])
        network.mapping.w_avg.copy_(codes.mean(0))


class GeneratorTraining:
    """The network, its running average and its optimiser, through all phases."""

    def __init__(self, run: TrainingRun, reader: PortraitReader):
        self.run, self.reader = run, reader
        self.parallel = ThreadedDataParallel(torch.get_num_threads())
        self.rng = torch.Generator().manual_seed(run.seed)
        self.target = MappingTarget(W_DIM, self.rng)
        self.phase, self.step, self.images, self.seconds_before = -1, 0, 0, 0.0
        self.state_path = run.out / "state.safetensors"
        if run.resume and self.state_path.is_file():
            self._load()

    def train(self, index: int, phase: Phase) -> None:
        """Train one phase, or what is left of it."""
        if index < self.phase:
            return
        if index > self.phase:
            self._enter(index, phase)
        cache = RenderCache(phase.size, phase.capacity, phase.replay, self.rng, self.parallel)
        test_z = sample_z(16 if self.run.smoke else 192, torch.Generator().manual_seed(0))
        test_images = render(factors_from_z(test_z), phase.size).images
        totals, last_saved = torch.zeros(2), self.run.seconds()
        while self.step < phase.steps:
            decay = warm_cosine(self.step, phase.steps, 100, phase.hold)
            set_rate(self.optimizer, phase.rate * max(decay, phase.last_rate * min(1.0, (self.step + 1) / 100)))
            totals += self._step(phase, *cache.batch(BATCH))
            if self.step % 250 == 0 or self.step == phase.steps:
                painted = self._paint(test_z)
                loss, features = (totals / 250).tolist()
                self.run.say(
                    f"{phase.name} step {self.step}: {self.images} pictures, loss {loss:.4f}, features {features:.4f}, "
                    f"PSNR {psnr(painted, test_images).mean():.2f}, {self.seconds_before + self.run.seconds():.0f} s"
                )
                totals.zero_()
                if self.run.seconds() - last_saved > 110 or self.step == phase.steps:
                    last_saved = self.run.seconds()
                    self._save()
                    rows = zip(test_images[:32].split(16), painted[:32].split(16), strict=True)
                    save_sheet(self.run.out / f"sheet_{phase.size}.png", torch.cat([*chain(*rows)]), 16)

    def _enter(self, index: int, phase: Phase) -> None:
        model = build_network(phase.size, torch.Generator().manual_seed(self.run.seed + index))
        if index == 0:
            start_mapping(self.run, model.mapping, self.target, 20 if self.run.smoke else 4000, self.rng)
            self.model, self.average = model, copy.deepcopy(model)
        else:
            self.average, self.model = _grow(self.average, copy.deepcopy(model)), _grow(self.model, model)
        self.average.requires_grad_(False)
        self.phase, self.step = index, 0
        self.optimizer = torch.optim.Adam(self.model.parameters(), phase.rate, (0.9, 0.99), 1e-8, fused=True)

    def _step(self, phase: Phase, z: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        parameters = list(self.model.parameters())
        figures = self.parallel.gradients(partial(self._loss, phase), parameters, z, images, weights)
        self.optimizer.step()
        self.step += 1
        self.images += len(z)
        decay = min(0.998, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), parameters, 1 - decay)
        return figures

    def _loss(self, phase: Phase, z: Tensor, images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        w = self.model.mapping(z)
        rows = w[:, None].expand(-1, self.model.config.num_layers, -1)
        painted = self.model.synthesis(rows, SynthesisOptions(noise="random", dtype=torch.bfloat16)).image
        features = feature_loss(self.reader, painted, images)
        loss = picture_loss(painted, images, weights) + features
        if phase.mapping_weight > 0:
            loss = loss + phase.mapping_weight * (w - self.target(z)).square().mean()
        return loss, torch.stack([loss.detach(), features.detach()])

    def _paint(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            rows = self.average.mapping(z)[:, None].expand(-1, self.average.config.num_layers, -1)
            return torch.cat(
                [
                    self.average.synthesis(chunk, SynthesisOptions(dtype=torch.bfloat16)).image
                    for chunk in rows.split(64)
                ]
            )

    def _save(self) -> None:
        moments = {}
        for name, parameter in self.model.named_parameters():
            state = self.optimizer.state[parameter]
            moments |= {f"first.{name}": state["exp_avg"], f"second.{name}": state["exp_avg_sq"]}
            moments[f"count.{name}"] = torch.as_tensor(state["step"]).reshape(1)
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()} | moments
        tensors["target.rotation"] = self.target.rotation
        position = {
            "phase": self.phase,
            "step": self.step,
            "seen": self.images,
            "size": self.model.config.resolution[0],
            "seconds": self.seconds_before + self.run.seconds(),
        }
        write_safetensors(self.state_path, tensors, "training", position)

    def _load(self) -> None:
        tensors, metadata = read_safetensors(self.state_path, "training")
        position = parse_json(metadata, "config", self.state_path)
        self.phase, self.step, self.images = position["phase"], position["step"], position["seen"]
        self.seconds_before = position["seconds"]
        # Other pictures than those already seen: the random state is not part of what is saved.
        self.rng.manual_seed(self.run.seed + 1000 + self.images)
        self.model = build_network(position["size"], torch.Generator().manual_seed(0))
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.model.load_state_dict(tensors_under(tensors, "model."))
        self.average.load_state_dict(tensors_under(tensors, "average."))
        self.target.rotation = tensors["target.rotation"]
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, (0.9, 0.99), 1e-8, fused=True)
        first, second, count = (tensors_under(tensors, f"{name}.") for name in ("first", "second", "count"))
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                "step": count[name][0],
                "exp_avg": first[name],
                "exp_avg_sq": second[name],
            }
        self.run.say(f"resumed at phase {self.phase}, step {self.step}, {self.images} pictures")


def _grow(small: StyleGAN2, large: StyleGAN2) -> StyleGAN2:
    """Copy a smaller generator's weights; the new block starts as a faint correction of the enlarged picture."""
    large.load_state_dict(small.state_dict(), strict=False)
    with torch.no_grad():
        getattr(large.synthesis, large.synthesis.block_names[-1]).torgb.weight.mul_(0.1)
    return large


def feature_reader(run: TrainingRun) -> PortraitReader:
    """Load the regressor whose features are the perceptual loss from OUT; train it first if it is not there."""
    path: Path = run.out / "features.safetensors"
    if not path.is_file():
        regressor = TrainingRun("regressor", run.out, 5, run.smoke)
        train_regressor(regressor)
        regressor.close()
    return load_reader(path, "features")
