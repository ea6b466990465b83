"""Supervised fine-tuning of a generator's synthesis behind a frozen mapping: wider layers where edges live.

What a mapping network has learned is enough: the factors can be read from w so well that portraits painted from the
reading are 35 dB from the true ones. So z -> w is frozen, and with it everything that was fitted to W: directions,
encoders, saved codes. The synthesis is widened without changing a picture and then trained, at half size first, where
a picture costs half. Nothing in a render is random, so the noise inputs stay as they are, next to zero.

A start that is as wide already has learned at half size before: it goes on at full size alone.
How long a step takes depends on what else the machine does; phases are therefore planned in minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from ....demo.portraits.factors import Z_DIM, factors_from_z
from ....demo.portraits.render import render
from ....demo.readers import PortraitReader
from ....editing.common.similarity import psnr
from ....models.errors import InputError
from ....models.gan.stylegan2 import StyleGAN2
from ....models.gan.synthesis_run import SynthesisOptions
from ..common import TrainingRun, gradient_energy, sample_z, set_rate
from ..data_parallel import ThreadedDataParallel
from ..losses import energy_loss, feature_loss, picture_loss
from ..render_cache import RenderCache
from ..resumable import Resumable
from ..sheet import save_sheet
from .muon import Muon
from .widen import widen_generator

CHANNELS = (192, 192, 192, 128, 80, 48)
_WARM_STEPS = 100
_EDGE_WEIGHT = 0.5
_SAY_SECONDS = 120.0


@dataclass(frozen=True)
class SharpeningPhase:
    """Training at one size."""

    size: int
    batch: int
    minutes: float
    rate: float
    hold: float  # share of the time at the full rate; a cosine follows
    last_rate: float  # share of the rate at the end
    capacity: int  # renders cached
    replay: int  # times that each is served
    steps: int | None = None  # instead of the minutes


PHASES = (
    SharpeningPhase(64, 16, 30.0, 3e-3, 0.8, 0.3, 8192, 4),
    SharpeningPhase(128, 8, 55.0, 2e-3, 0.6, 0.0, 8192, 5),
)
_SMOKE_CHANNELS = (168, 160, 160, 104)
_SMOKE = (
    SharpeningPhase(16, 4, 1.0, 3e-3, 0.5, 0.25, 64, 3, steps=2),
    SharpeningPhase(32, 4, 1.0, 2e-3, 0.5, 0.0, 64, 3, steps=2),
)


@dataclass(frozen=True, eq=False)
class Sharpened:
    """A sharpened network, the pictures that it was trained on and the seconds that took."""

    network: StyleGAN2
    images: int
    seconds: float


def check_start(network: StyleGAN2, smoke: bool) -> None:
    """Check that ``network`` paints demo portraits of the size that is trained.

    Raises:
        InputError: it does not.
    """
    size, config = (_SMOKE if smoke else PHASES)[-1].size, network.config
    height, width = config.resolution
    if height != width or height < size or config.z_dim != Z_DIM or config.architecture != "skip":
        raise InputError(
            f"generator.safetensors: expected a generator of {size} px or more that sums its blocks' pictures (skip), "
            f"with {Z_DIM} numbers in z; this one has {width} x {height} px, {config.architecture}, {config.z_dim}."
        )


def sharpen_generator(run: TrainingRun, start: StyleGAN2, reader: PortraitReader) -> Sharpened:
    """Widen ``start`` where it has fewer channels than planned, and train its synthesis; z -> w stays."""
    phases, planned = (_SMOKE, _SMOKE_CHANNELS) if run.smoke else (PHASES, CHANNELS)
    old = start.config.channels
    channels = tuple(max(pair) for pair in zip(old, planned, strict=False)) + old[len(planned) :]
    if channels == old:
        network, phases = start, phases[-1:]
        run.say(f"the start has {', '.join(map(str, old))} channels already: on at {phases[0].size} px")
    else:
        network = widen_generator(start, channels, torch.Generator().manual_seed(run.seed))
    parallel, images, seconds = ThreadedDataParallel(torch.get_num_threads()), 0, 0.0
    for phase in phases:
        training = SharpeningTraining(run, network, reader, phase, parallel)
        training.train()
        network = training.state.average
        images += training.state.step * phase.batch
        seconds += training.state.seconds()
    return Sharpened(network, images, seconds)


class SharpeningTraining:
    """One phase: a network whose blocks up to the phase's size learn."""

    def __init__(
        self,
        run: TrainingRun,
        network: StyleGAN2,
        reader: PortraitReader,
        phase: SharpeningPhase,
        parallel: ThreadedDataParallel,
    ):
        self.run, self.reader, self.phase, self.parallel = run, reader, phase, parallel
        unfreeze_blocks(network, phase.size)
        path = run.out / f"state_sharp_{phase.size}.safetensors"
        optimizer = Muon(*split_parameters(network), phase.rate, parallel)
        self.state = Resumable(run, path, network, phase.rate, optimizer=optimizer)
        self.test_z = sample_z(16 if run.smoke else 192, torch.Generator().manual_seed(0))
        self.test_images = render(factors_from_z(self.test_z), phase.size).images

    def train(self) -> None:
        """Train to the end of the phase."""
        state, phase, last_said, totals, count = self.state, self.phase, -math.inf, torch.zeros(2), 0
        cache = RenderCache(phase.size, phase.capacity, phase.replay, state.generator(), self.parallel)
        while (progress := state.progress(phase.minutes, phase.steps)) < 1:
            rate = phase.rate * hold_then_cosine(progress, phase.hold, phase.last_rate)
            set_rate(state.optimizer, rate * min(1.0, (state.step + 1) / _WARM_STEPS))
            batch = cache.batch(phase.batch)
            totals += self.parallel.gradients(self._loss, state.trained, *batch, chunks_per_worker=1)
            state.advance()
            count += 1
            if state.seconds() - last_said > _SAY_SECONDS:
                self._say(totals / count, rate)
                last_said, count = state.seconds(), 0
                totals.zero_()
            if state.due():
                state.save()
        self._say(totals / max(1, count), 0.0)
        state.save()

    def _loss(self, z: Tensor, images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        painted = paint(self.state.model, z, self.phase.size)
        features = feature_loss(self.reader, painted, images)
        loss = picture_loss(painted, images, weights) + features + _EDGE_WEIGHT * energy_loss(painted, images)
        return loss, torch.stack([loss.detach(), features.detach()])

    @torch.no_grad()
    def _say(self, means: Tensor, rate: float) -> None:
        state, size = self.state, self.phase.size
        painted = torch.cat([paint(state.average, z, size) for z in self.test_z.split(16)])
        loss, features = means.tolist()
        detail = gradient_energy(painted) / gradient_energy(self.test_images)
        self.run.say(
            f"sharp {size} px step {state.step}: {state.step * self.phase.batch} pictures, loss {loss:.4f}, features "
            f"{features:.4f}, PSNR {psnr(painted, self.test_images).mean():.2f}, gradient energy {detail:.3f}, "
            f"rate {rate:.1e}, {state.seconds():.0f} s"
        )
        rows = zip(self.test_images[:32].split(16), painted[:32].split(16), strict=True)
        save_sheet(self.run.out / f"sheet_sharp_{size}.png", torch.cat([*chain(*rows)]), 16)


def unfreeze_blocks(network: StyleGAN2, size: int) -> None:
    """Let the synthesis learn in its blocks up to ``size`` pixels, its noise strengths aside, and nothing else."""
    network.requires_grad_(False)
    for block_name in network.synthesis.block_names:
        block = getattr(network.synthesis, block_name)
        if block.size[0] <= size:
            for name, parameter in block.named_parameters():
                parameter.requires_grad_(not name.endswith("noise_strength"))


def split_parameters(network: StyleGAN2) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that learn by Muon (kernels, style layers), and by Adam (constant, biases, colours)."""
    matrices, others = [], []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            hidden = name.endswith((".conv0.weight", ".conv1.weight", ".affine.weight"))
            (matrices if hidden else others).append(parameter)
    return matrices, others


def paint(network: StyleGAN2, z: Tensor, size: int) -> Tensor:
    """Paint z ``[B, Z]`` as ``[B, 3, size, size]`` in -1..1; gradients reach the synthesis alone."""
    with torch.no_grad():
        rows = network.mapping(z)[:, None].expand(-1, network.config.num_layers, -1)
    options = SynthesisOptions(noise="none", stop_resolution=size, dtype=torch.bfloat16)
    return network.synthesis(rows, options).image


def hold_then_cosine(progress: float, hold: float, last: float) -> float:
    """Return a learning-rate factor: 1 for the ``hold`` share, then a cosine down to ``last``."""
    if progress < hold:
        return 1.0
    decay = 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - hold) / max(1e-9, 1 - hold))))
    return last + (1 - last) * decay
