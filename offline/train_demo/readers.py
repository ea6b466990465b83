"""Training of the feature regressor (a perceptual loss) and of the oracle (a grader), kept apart in every respect."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ...demo.portraits.factors import FACTORS, LIVE_NAMES, normalise_factors, visibility_mask
from ...demo.readers import READER_SIZE, PortraitReader, ReaderConfig, save_reader
from ...editing.common.filters import gaussian_blur
from .augment import heavy_disturbance, light_disturbance
from .common import TrainingRun, format_factors, from_bytes, r_squared, rendered, rendered_z, set_rate, warm_cosine

REGRESSOR = ReaderConfig("plain", 24, len(LIVE_NAMES))
ORACLE = ReaderConfig("residual", 32, len(LIVE_NAMES))


def train_regressor(run: TrainingRun) -> None:
    """Train the perceptual features on renders: 12,000 portraits, 1,000 steps of 64."""
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    count, held_out = (256, 64) if run.smoke else (12000, 1024)
    factors, images = rendered_z(count + held_out, READER_SIZE, generator)
    run.say(f"rendered {count + held_out} portraits in {run.seconds():.0f} s")
    reader = PortraitReader(REGRESSOR)
    figures = _fit(run, reader, factors, images, held_out, 4 if run.smoke else 1100, light_disturbance, generator)
    save_reader(run.out / "features.safetensors", reader, "features", run.provenance(**figures))


def train_oracle(run: TrainingRun) -> None:
    """Train the grader on renders of its own seed, one in three with the factors moved that usually rest."""
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed)
    count, held_out = (256, 64) if run.smoke else (20000, 1024)
    factors, _ = rendered_z(count + held_out, 8, generator)
    unusual = torch.rand(count + held_out, generator=generator) < 1 / 3
    unusual[count:] = False
    _randomise_resting(factors, unusual, generator)
    images = rendered(factors, READER_SIZE)
    run.say(f"rendered {count + held_out} portraits in {run.seconds():.0f} s")
    reader = PortraitReader(ORACLE)
    figures = _fit(run, reader, factors, images, held_out, 4 if run.smoke else 2600, heavy_disturbance, generator)
    undisturbed = from_bytes(images[count:])
    target, mask = normalise_factors(factors[count:]), visibility_mask(factors[count:])
    for name, pictures in (
        ("blurred", gaussian_blur(undisturbed, 1.0, "replicate")),
        ("noisy", undisturbed + 0.1 * torch.randn(undisturbed.shape, generator=generator)),
    ):
        run.say(f"held-out R2, {name}: {format_factors(r_squared(_predict(reader, pictures), target, mask))}")
    save_reader(run.out / "portraits.safetensors", reader, "oracle", run.provenance(**figures))


def _randomise_resting(factors: Tensor, mask: Tensor, generator: torch.Generator) -> None:
    """Give the portraits of ``mask [B]`` random values of half of their resting factors, in place."""
    for i, factor in enumerate(FACTORS):
        if not factor.live:
            values = factor.low + (factor.high - factor.low) * torch.rand(len(factors), generator=generator)
            moved = mask & (torch.rand(len(factors), generator=generator) < 0.5)
            factors[moved, i] = values[moved]


def _predict(reader: PortraitReader, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([reader(chunk) for chunk in images.split(128)])


def _fit(
    run: TrainingRun,
    reader: PortraitReader,
    factors: Tensor,
    images: Tensor,
    held_out: int,
    steps: int,
    disturb: Callable[[Tensor, torch.Generator], Tensor],
    generator: torch.Generator,
) -> dict:
    """Regress the normalised live factors; the last ``held`` portraits only measure."""
    target, mask = normalise_factors(factors), visibility_mask(factors)
    optimizer = torch.optim.AdamW(reader.parameters(), 2e-3, weight_decay=1e-3)
    count, total = len(images) - held_out, 0.0
    for step in range(steps):
        set_rate(optimizer, 2e-3 * warm_cosine(step, steps, 50))
        index = torch.randint(0, count, (64,), generator=generator)
        pictures = disturb(from_bytes(images[index]), generator)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = reader(pictures)
        loss = F.smooth_l1_loss(predicted.float(), target[index], beta=0.2, reduction="none")
        loss = (loss * mask[index]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item()
        if (step + 1) % 200 == 0:
            run.say(f"step {step + 1} of {steps}: loss {total / 200:.4f}, {run.seconds():.0f} s")
            total = 0.0
    reader.eval()
    explained = r_squared(_predict(reader, from_bytes(images[count:])), target[count:], mask[count:])
    run.say(f"held-out R2: {format_factors(explained)}; mean {explained.mean():.4f}")
    return {"held_out_r2": {name: round(v, 4) for name, v in zip(LIVE_NAMES, explained.tolist(), strict=True)}}
