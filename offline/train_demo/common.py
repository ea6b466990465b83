"""What the training jobs share: a log, schedules, cached renders, figures of merit."""

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
class Job:
    """One training run: where it writes, from which seed, how long, and its log."""

    name: str
    out: Path
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
        """Let go of the log file."""
        for handler in list(self.logger.handlers):
            self.logger.removeHandler(handler)
            handler.close()

    def say(self, text: str) -> None:
        """One line to the log and the terminal."""
        self.logger.info("%s", text)

    def seconds(self) -> float:
        """Since the job started."""
        return time.monotonic() - self.started

    def provenance(self, **figures: object) -> dict:
        """What goes into a checkpoint's header."""
        machine = f"{torch.get_num_threads()} CPU threads, {platform.machine()}, torch {torch.__version__}"
        return {"job": self.name, "seed": self.seed, "machine": machine, "seconds": round(self.seconds()), **figures}


def warm_cosine(step: int, steps: int, warm: int, hold: float = 0.0) -> float:
    """A learning-rate factor: linear warm-up, constant for the ``hold`` share of all steps, then a cosine to zero."""
    done = step / max(1, steps)
    fall = 1.0 if done < hold else 0.5 * (1 + math.cos(math.pi * (done - hold) / max(1e-9, 1 - hold)))
    return min(1.0, (step + 1) / warm) * fall


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One learning rate for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def to_bytes(images: Tensor) -> Tensor:
    """-1..1 to uint8: caches hold four times as many."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_bytes(images: Tensor) -> Tensor:
    """uint8 back to -1..1."""
    return images.float() / 127.5 - 1


def sample_z(count: int, generator: torch.Generator) -> Tensor:
    """Normal samples ``[count, Z]``."""
    return torch.randn(count, Z_DIM, generator=generator)


def rendered(factors: Tensor, size: int) -> Tensor:
    """Renders as uint8 ``[B, 3, size, size]``, in chunks."""
    return torch.cat([to_bytes(render(piece, size).images) for piece in factors.split(64)])


def rendered_z(count: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Factors ``[count, K]`` of fresh samples and their renders as uint8."""
    factors = factors_from_z(sample_z(count, generator))
    return factors, rendered(factors, size)


def r_squared(predicted: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    """The explained share of variance per column, ``[N, K] -> [K]``, over the entries where ``counted`` is 1."""
    counted = torch.ones_like(target) if counted is None else counted
    mean = (target * counted).sum(0) / counted.sum(0).clamp(min=1)
    residual = ((predicted - target).square() * counted).sum(0)
    return 1 - residual / ((target - mean).square() * counted).sum(0).clamp(min=1e-9)


def named(values: Tensor) -> str:
    """A line "yaw .998, smile .991, ..." for per-factor figures."""
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(LIVE_NAMES, values.tolist(), strict=True))


def psnr(images: Tensor, targets: Tensor) -> float:
    """Mean over pictures of the peak signal-to-noise ratio in dB, both in -1..1."""
    error = ((images - targets).clamp(-2, 2) / 2).square().mean((1, 2, 3))
    return float((-10 * torch.log10(error.clamp(min=1e-10))).mean())
