"""The demo generator: the pack's StyleGAN2, trained to paint what the renderer paints for the same sample.

A supervised recipe, chosen because it takes an hour on two CPU cores where an adversarial one takes a day. Phase one
learns 64 pixels, phase two grows to 128 and drops the loss that ties w to the factors.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ...demo.portraits.factors import Z_DIM, factors_from_z
from ...demo.portraits.render import render
from ...demo.readers import PortraitReader, load_reader
from ...models.checkpoint import parse_json, read_safetensors, write_safetensors
from ...models.gan.generator import save_generator
from ...models.gan.stylegan2 import StyleGAN2
from ...models.gan.stylegan2_config import StyleGAN2Config
from .common import Job, psnr, sample_z, set_rate, warm_cosine
from .data_parallel import Crew
from .losses import feature_loss, picture_loss
from .mapping_start import MappingTarget, start_mapping
from .readers import train_regressor
from .render_cache import RenderCache
from .sheet import save_sheet

CHANNELS = (160, 160, 160, 96, 48, 32)
W_DIM = 128
BATCH = 16


@dataclass(frozen=True)
class Phase:
    """One stretch of training at one size."""

    name: str
    size: int
    steps: int
    rate: float
    hold: float  # share of the steps at the full rate
    last_rate: float  # share of the rate at the end
    mapping_weight: float  # of the loss that keeps w near its start
    capacity: int  # renders kept
    replay: int


PHASES = (
    Phase("64 px", 64, 6500, 3e-3, 0.6, 0.25, 0.05, 6144, 3),
    Phase("128 px", 128, 4800, 2e-3, 0.3, 0.0, 0.0, 4096, 4),
)
_SMOKE = (
    Phase("16 px", 16, 2, 3e-3, 0.5, 0.25, 0.05, 128, 3),
    Phase("32 px", 32, 2, 2e-3, 0.25, 0.0, 0.0, 128, 4),
)


def network(size: int, rng: torch.Generator) -> StyleGAN2:
    """An untrained generator of ``size`` pixels."""
    blocks = size.bit_length() - 2
    return StyleGAN2(
        StyleGAN2Config(z_dim=Z_DIM, w_dim=W_DIM, channels=CHANNELS[:blocks], mapping_layers=4, lr_multiplier=1.0), rng
    )


def train_generator(job: Job) -> None:
    """All phases; ``--resume`` goes on from the last saved step. Trains the regressor first if OUT lacks it."""
    torch.manual_seed(job.seed)  # the synthesis draws its training noise from torch's own state
    reader = features(job)
    run = Run(job, reader)
    for index, phase in enumerate(_SMOKE if job.smoke else PHASES):
        run.train(index, phase)
    track_w_mean(run.average, torch.Generator().manual_seed(job.seed), 500 if job.smoke else 20000)
    path = job.out / "portraits.safetensors"
    save_generator(path, run.average, job.provenance(images=run.seen), half=True)
    job.say(f"wrote {path.name} after {run.seen} pictures")


def track_w_mean(network: StyleGAN2, rng: torch.Generator, count: int) -> None:
    """Set the tracked mean of W from ``count`` samples."""
    with torch.no_grad():
        codes = torch.cat([network.mapping(z) for z in sample_z(count, rng).split(4096)])
        network.mapping.w_avg.copy_(codes.mean(0))


class Run:
    """The network, its running average and its optimiser, through all phases."""

    def __init__(self, job: Job, reader: PortraitReader):
        self.job, self.reader = job, reader
        self.crew = Crew(torch.get_num_threads())
        self.rng = torch.Generator().manual_seed(job.seed)
        self.target = MappingTarget(W_DIM, self.rng)
        self.phase, self.step, self.seen, self.seconds_before = -1, 0, 0, 0.0
        self.state_path = job.out / "state.safetensors"
        if job.resume and self.state_path.is_file():
            self._load()

    def train(self, index: int, phase: Phase) -> None:
        """One phase, or what is left of it."""
        if index < self.phase:
            return
        if index > self.phase:
            self._enter(index, phase)
        cache = RenderCache(phase.size, phase.capacity, phase.replay, self.rng, self.crew)
        test_z = sample_z(16 if self.job.smoke else 192, torch.Generator().manual_seed(0))
        test_images = render(factors_from_z(test_z), phase.size).images
        totals, last_saved = torch.zeros(2), self.job.seconds()
        while self.step < phase.steps:
            fall = warm_cosine(self.step, phase.steps, 100, phase.hold)
            set_rate(self.optimizer, phase.rate * max(fall, phase.last_rate * min(1.0, (self.step + 1) / 100)))
            totals += self._step(phase, *cache.batch(BATCH))
            if self.step % 250 == 0 or self.step == phase.steps:
                painted = self._paint(test_z)
                loss, features = (totals / 250).tolist()
                self.job.say(
                    f"{phase.name} step {self.step}: {self.seen} pictures, loss {loss:.4f}, features {features:.4f}, "
                    f"PSNR {psnr(painted, test_images):.2f}, {self.seconds_before + self.job.seconds():.0f} s"
                )
                totals.zero_()
                if self.job.seconds() - last_saved > 110 or self.step == phase.steps:
                    last_saved = self.job.seconds()
                    self._save()
                    rows = zip(test_images[:32].split(16), painted[:32].split(16), strict=True)
                    save_sheet(self.job.out / f"sheet_{phase.size}.png", torch.cat([*chain(*rows)]), 16)

    def _enter(self, index: int, phase: Phase) -> None:
        fresh = network(phase.size, torch.Generator().manual_seed(self.job.seed + index))
        if index == 0:
            start_mapping(self.job, fresh.mapping, self.target, 20 if self.job.smoke else 4000, self.rng)
            self.model, self.average = fresh, copy.deepcopy(fresh)
        else:
            self.average, self.model = _grow(self.average, copy.deepcopy(fresh)), _grow(self.model, fresh)
        self.average.requires_grad_(False)
        self.phase, self.step = index, 0
        self.optimizer = torch.optim.Adam(self.model.parameters(), phase.rate, (0.9, 0.99), 1e-8, fused=True)

    def _step(self, phase: Phase, z: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        parameters = list(self.model.parameters())
        figures = self.crew.gradients(partial(self._loss, phase), parameters, z, images, weights)
        self.optimizer.step()
        self.step += 1
        self.seen += len(z)
        keep = min(0.998, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), parameters, 1 - keep)
        return figures

    def _loss(self, phase: Phase, z: Tensor, images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        w = self.model.mapping(z)
        rows = w[:, None].expand(-1, self.model.config.num_layers, -1)
        painted = self.model.synthesis(rows, noise="random", dtype=torch.bfloat16).image
        features = feature_loss(self.reader, painted, images)
        loss = picture_loss(painted, images, weights) + features
        if phase.mapping_weight > 0:
            loss = loss + phase.mapping_weight * (w - self.target(z)).square().mean()
        return loss, torch.stack([loss.detach(), features.detach()])

    def _paint(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            rows = self.average.mapping(z)[:, None].expand(-1, self.average.config.num_layers, -1)
            return torch.cat([self.average.synthesis(part, dtype=torch.bfloat16).image for part in rows.split(64)])

    def _save(self) -> None:
        moments = {}
        for name, parameter in self.model.named_parameters():
            state = self.optimizer.state[parameter]
            moments |= {f"first.{name}": state["exp_avg"], f"second.{name}": state["exp_avg_sq"]}
            moments[f"count.{name}"] = torch.as_tensor(state["step"]).reshape(1)
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()} | moments
        tensors["target.rotation"] = self.target.rotation
        place = {
            "phase": self.phase,
            "step": self.step,
            "seen": self.seen,
            "size": self.model.config.resolution[0],
            "seconds": self.seconds_before + self.job.seconds(),
        }
        write_safetensors(self.state_path, tensors, "training", place)

    def _load(self) -> None:
        tensors, metadata = read_safetensors(self.state_path, "training")
        place = parse_json(metadata, "config", self.state_path)
        self.phase, self.step, self.seen = place["phase"], place["step"], place["seen"]
        self.seconds_before = place["seconds"]
        # Other pictures than those already seen: the random state is not part of what is saved.
        self.rng.manual_seed(self.job.seed + 1000 + self.seen)
        self.model = network(place["size"], torch.Generator().manual_seed(0))
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.model.load_state_dict(_under(tensors, "model."))
        self.average.load_state_dict(_under(tensors, "average."))
        self.target.rotation = tensors["target.rotation"]
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3, (0.9, 0.99), 1e-8, fused=True)
        first, second, count = (_under(tensors, f"{part}.") for part in ("first", "second", "count"))
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                "step": count[name][0],
                "exp_avg": first[name],
                "exp_avg_sq": second[name],
            }
        self.job.say(f"resumed at phase {self.phase}, step {self.step}, {self.seen} pictures")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _grow(small: StyleGAN2, large: StyleGAN2) -> StyleGAN2:
    """Copy a smaller generator's weights; the new block starts as a faint correction of the enlarged picture."""
    large.load_state_dict(small.state_dict(), strict=False)
    with torch.no_grad():
        getattr(large.synthesis, large.synthesis.block_names[-1]).torgb.weight.mul_(0.1)
    return large


def features(job: Job) -> PortraitReader:
    """The regressor whose features are the perceptual loss, from OUT; trained first if it is not there."""
    path: Path = job.out / "features.safetensors"
    if not path.is_file():
        regressor = Job("regressor", job.out, 5, job.smoke)
        train_regressor(regressor)
        regressor.close()
    return load_reader(path, "features")
