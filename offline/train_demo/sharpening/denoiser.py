"""Fine-tuning of the demo denoiser on sharper latents, with people in hats who are spoken of by their hat's colour.

A hat of one colour is worn by one portrait in thirty, and every second sentence calls it "a hat": too seldom for a
colour to be learned. Here more portraits wear hats, and many of their sentences say which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ....demo.portraits.factors import INDEX, factors_from_z
from ..common import TrainingRun, sample_z, set_rate
from ..data_parallel import ThreadedDataParallel
from ..diffusion_network import UNCONDITIONAL, draw_noise, noise_loss
from ..diffusion_text import random_description, token_ids
from ..resumable import Resumable
from .sharpen import hold_then_cosine

_BATCH = 32
_WARM_STEPS = 50
_SAY_SECONDS = 120.0
_HATS = 0.4  # share of the portraits that wear one
_COLOURED = 0.35  # share of their sentences that are drawn until they say the colour
_DRAWS = 12


@dataclass(frozen=True)
class DenoiserPhase:
    """How many latents there are, how long the denoiser learns from them, and how fast."""

    minutes: float
    portraits: int
    rate: float = 8e-4
    hold: float = 0.4  # share of the time at the full rate; a cosine to zero follows
    steps: int | None = None  # instead of the minutes


def factors_with_hats(count: int, rng: torch.Generator) -> Tensor:
    """Sample factors ``[count, K]``, as the demo world does but that more people wear a hat."""
    factors = factors_from_z(sample_z(4 * count, rng))
    wears = factors[:, INDEX["hat"]] > 0.5
    hats = min(int(wears.sum()), round(_HATS * count))
    chosen = torch.cat([factors[wears][:hats], factors[~wears][: count - hats]])
    return chosen[torch.randperm(len(chosen), generator=rng)]


def sharpen_denoiser(
    run: TrainingRun,
    start: nn.Module,
    text: nn.Module,
    tokenizer,
    latents: Tensor,  # [N, 4, 16, 16] of unit variance
    attributes: list[dict[str, str]],  # attribute -> phrase, of each portrait
    phase: DenoiserPhase,
    parallel: ThreadedDataParallel,
    save: Callable[[nn.Module], None],  # called with the network whenever there is a new version
) -> nn.Module:
    """Train ``start``, a UNet2DConditionModel, on new latents, and return its running average."""
    model = start.float().train().requires_grad_(True)
    state = Resumable(run, run.out / "state_sharp_unet.safetensors", model, phase.rate)
    rng = state.generator()
    count, last_said, total = 0, -math.inf, torch.zeros(1)

    def loss(clean: Tensor, noise: Tensor, times: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        mean = noise_loss(model, text, clean, noise, times, ids)
        return mean, mean.detach()[None]

    while (progress := state.progress(phase.minutes, phase.steps)) < 1:
        rate = phase.rate * hold_then_cosine(progress, phase.hold, 0.0)
        set_rate(state.optimizer, rate * min(1.0, (state.step + 1) / _WARM_STEPS))
        index = torch.randint(0, len(attributes), (2 if run.smoke else _BATCH,), generator=rng)
        clean = latents[index].float()
        noise, times = draw_noise(clean, rng)
        ids = token_ids(tokenizer, [sentence_for(attributes[i], rng) for i in index.tolist()])
        total += parallel.gradients(loss, state.trained, clean, noise, times, ids, chunks_per_worker=1)
        nn.utils.clip_grad_norm_(state.trained, 1.0)
        state.advance()
        count += 1
        if state.seconds() - last_said > _SAY_SECONDS or state.progress(phase.minutes, phase.steps) >= 1:
            run.say(
                f"sharp denoiser, step {state.step}: loss {(total / count).item():.4f}, rate {rate:.1e}, "
                f"{state.seconds():.0f} s"
            )
            last_said, count = state.seconds(), 0
            total.zero_()
        if state.due():
            state.save()
            save(state.average)
    state.save()
    return state.average


def sentence_for(attributes: dict[str, str], rng: torch.Generator) -> str:
    """Draw what a portrait is shown with: nothing, or a sentence that often says the colour of its hat.

    attributes: attribute -> phrase.
    """
    if float(torch.rand((), generator=rng)) < UNCONDITIONAL:
        return ""
    colour = attributes.get("hat", "no hat")
    insisting = colour != "no hat" and float(torch.rand((), generator=rng)) < _COLOURED
    for _ in range(_DRAWS if insisting else 1):
        sentence = random_description(attributes, rng)
        if dict(sentence.conditions).get("hat") == colour:
            break
    return sentence.text
