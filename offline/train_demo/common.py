"""Training runs of the demo networks: the log, learning-rate schedules, renders and figures of merit they share."""

from __future__ import annotations

import logging
import math
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...demo.portraits.factors import LIVE_NAMES, Z_DIM, factors_from_z
from ...demo.portraits.render import render


@dataclass
class TrainingRun:
    """One run of a training job: output folder, seed, log and clock."""

    name: str  # of the job
    out: Path  # folder of checkpoints, logs and sample sheets
    seed: int
    smoke: bool = False  # a few steps only, to prove that the script runs
    resume: bool = False
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self.logger = logging.getLogger(f"semantic_edit.offline.train_demo.{self.name}")
        self.logger.setLevel(logging.INFO)
        for handler in (logging.FileHandler(self.out / f"{self.name}.log"), logging.StreamHandler()):
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
            self.logger.addHandler(handler)

    def close(self) -> None:
        """Close the log file."""
        for handler in list(self.logger.handlers):
            self.logger.removeHandler(handler)
            handler.close()

    def say(self, text: str) -> None:
        """Write one line to the log and the terminal."""
        self.logger.info("%s", text)

    def seconds(self) -> float:
        """Return the seconds since the run started."""
        return time.monotonic() - self.started

    def provenance(self, **figures: object) -> dict:
        """Return the provenance of a checkpoint's header: job, seed, machine, seconds and ``figures``."""
        machine = f"{torch.get_num_threads()} CPU threads, {platform.machine()}, torch {torch.__version__}"
        return {"job": self.name, "seed": self.seed, "machine": machine, "seconds": round(self.seconds()), **figures}


def warm_cosine(step: int, steps: int, warm: int, hold: float = 0.0) -> float:
    """Return a learning-rate factor: linear warm-up, constant for the ``hold`` share of all steps, a cosine to zero."""
    progress = step / max(1, steps)
    decay = 1.0 if progress < hold else 0.5 * (1 + math.cos(math.pi * (progress - hold) / max(1e-9, 1 - hold)))
    return min(1.0, (step + 1) / warm) * decay


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set one learning rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def to_bytes(images: Tensor) -> Tensor:
    """Quantise ``[B, C, H, W]`` in -1..1 to uint8, of which a cache holds four times as many."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_bytes(images: Tensor) -> Tensor:
    """Return uint8 ``[B, C, H, W]`` to -1..1."""
    return images.float() / 127.5 - 1


def sample_z(count: int, generator: torch.Generator) -> Tensor:
    """Draw normal samples ``[count, Z]``."""
    return torch.randn(count, Z_DIM, generator=generator)


def rendered(factors: Tensor, size: int) -> Tensor:
    """Render factors ``[B, K]`` as uint8 ``[B, 3, size, size]``, in chunks."""
    return torch.cat([to_bytes(render(chunk, size).images) for chunk in factors.split(64)])


def rendered_z(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw samples; return their factors ``[count, K]`` and their renders as uint8 ``[count, 3, size, size]``."""
    factors = factors_from_z(sample_z(count, generator))
    return factors, rendered(factors, size)


def r_squared(predicted: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the coefficient of determination of each column.

    Args:
        predicted: ``[N, K]``.
        target: ``[N, K]``.
        mask: ``[N, K]``, 1 for the entries that count; None: all.

    Returns:
        ``[K]``, 1 for a perfect prediction.
    """
    mask = torch.ones_like(target) if mask is None else mask
    mean = (target * mask).sum(0) / mask.sum(0).clamp(min=1)
    residual = ((predicted - target).square() * mask).sum(0)
    return 1 - residual / ((target - mean).square() * mask).sum(0).clamp(min=1e-9)


def format_factors(values: Tensor) -> str:
    """Return the line "yaw .998, smile .991, ..." of figures ``[live factors]``."""
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(LIVE_NAMES, values.tolist(), strict=True))


def gradient_energy(images: Tensor) -> Tensor:
    """Return the mean squared difference of neighbouring pixels of ``[B, C, H, W]``: how much fine detail they have."""
    return images.diff(dim=-1).square().mean() + images.diff(dim=-2).square().mean()
