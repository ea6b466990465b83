"""Embedding optimisation, Imagic's stage 1: the embedding near the target's under which the model paints the photo."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.inference import enable_training
from ..common.diffusion.autograd.memory import draws_at_once, graph_bytes, weight_storages
from ..common.diffusion.autograd.out_of_place import out_of_place
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.scaled_adam import ScaledAdam
from ..common.progress import Progress, silent
from .conditioning import POOLED, Conditioning
from .fixed_noise_loss import FixedNoiseLoss, LossReport
from .gradient_check import check_gradient
from .loss import TargetLatent, check_levels, denoising_loss
from .preview_progress import PreviewProgress
from .schedule import SCHEDULES, rate_factor
from .token_counts import check_same_encoder

__all__ = ["EmbeddingFit", "EmbeddingSettings", "optimize_embedding", "root_mean_square"]


@dataclass(frozen=True)
class EmbeddingSettings:
    """Settings of the optimisation.

    Args:
        steps: Adam steps.
        rate: learning rate as a share of the embedding's root mean square, so that one value suits every encoder.
        draws: noise draws per step.
        levels: share of the timesteps used, from least (0) to most noise (1).
        pooled: optimise the pooled output as well, where there is one. Tokens of further encoders always are.
        seed: decides the noise.
        schedule: of the rate, one of `schedule.SCHEDULES`.

    Raises:
        InputError: when a value is out of range.
    """

    steps: int = 100
    rate: float = 0.01
    draws: int = 4
    levels: tuple[float, float] = (0.0, 1.0)
    pooled: bool = True
    seed: int = 0
    schedule: str = SCHEDULES[0]

    def __post_init__(self) -> None:
        check_choice("schedule", self.schedule, SCHEDULES)
        if self.steps < 1 or self.draws < 1 or not 0 < self.rate <= 10:
            raise InputError(
                f"steps and draws (noise samples) have to be 1 or more, and rate above 0, up to 10; got {self.steps}, "
                f"{self.draws} and {self.rate:g}."
            )
        check_levels(self.levels)


@dataclass(frozen=True, eq=False)
class EmbeddingFit(LossReport):
    """An optimised embedding.

    Args:
        conditioning: the optimised entry.
        losses: mean loss of each step.
        loss_before, loss_after: over the same fixed noise.
        moved: |e_opt - e_start| / |e_start|.
    """

    conditioning: Conditioning
    losses: tuple[float, ...]
    loss_before: float
    loss_after: float
    moved: float

    def report(self) -> str:
        """Say in a sentence how far it went, with a warning where the embedding has hardly moved."""
        text = (
            f"The embedding moved by {self.moved:.0%} of its length, and the loss on fixed noise fell from "
            f"{self.loss_before:.4f} to {self.loss_after:.4f} ({self.gain:.1%})."
        )
        if self.moved < 0.05 or self.gain < 0.005:
            text += (
                " That is little: edits may show nothing. Raise the rate or the steps until it moves by 10 % or more."
            )
        return text


def optimize_embedding(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    target: Conditioning,
    settings: EmbeddingSettings | None = None,
    start: Conditioning | None = None,
    mask: Tensor | None = None,  # [1, H, W], 1 where the photo counts `mask_weight` fold
    mask_weight: float = 1.0,
    free: int | None = None,  # bytes of memory that may be used
    progress: Progress = silent,
) -> EmbeddingFit:
    """Minimise the denoising loss of the photo over the embedding, from the target's (or from a caption's).

    Args:
        start: a caption to start from instead of the target.

    Returns:
        The fit; its conditioning has the number of tokens that it started from, and every key of ``target`` that is
        no text.

    Raises:
        InputError: when there are several photos, the model has no gradients, the memory is too small, or the loss
            explodes.

    Source: Imagic (2210.09276), section 3.2 (A), Eq. 2; several noise draws per step instead of one.
    """
    settings = settings or EmbeddingSettings()
    rng = torch.Generator().manual_seed(settings.seed)
    with enable_training(), denoiser.training(), ExitStack() as stack:
        target_latent = TargetLatent.from_vae(denoiser, latent.detach().clone(), mask, mask_weight)
        if start is not None:
            check_same_encoder(start, target, ("start", "target"))
        variable = _Variable((start or target).trainable_copy(denoiser.device), settings.pooled)
        overwrites = check_gradient(denoiser, target_latent, variable.conditioning())
        stack.enter_context(out_of_place(denoiser.network, overwrites))
        at_once = _draws_at_once(denoiser, target_latent, variable, settings, free)
        fixed_noise_loss = FixedNoiseLoss(denoiser, target_latent, settings.levels, settings.seed)
        loss_before = fixed_noise_loss(variable.start)
        rates = [([tensor], settings.rate * root_mean_square(tensor)) for tensor in variable.tensors]
        optimizer = ScaledAdam(rates, denoiser.dtype == torch.float16)
        losses, report = [], PreviewProgress(denoiser, target_latent, progress)
        for step in range(settings.steps):
            noise = target_latent.draw_noise(denoiser, settings.draws, settings.levels, rng)
            losses.append(
                optimizer.step(
                    (
                        denoising_loss(denoiser, target_latent, draws, variable.conditioning())
                        * (len(draws.sigma) / settings.draws)
                        for draws in noise.split(at_once)
                    ),
                    rate_factor(settings.schedule, step, settings.steps),
                )
            )
            report(step + 1, settings.steps, variable.conditioning())
        optimised = variable.conditioning().detached_like(variable.start)
        loss_after = fixed_noise_loss(optimised)
    start_embedding = variable.start.embedding
    moved = float((optimised.embedding - start_embedding).norm() / start_embedding.norm().clamp(min=1e-12))
    return EmbeddingFit(optimised.detached_like(target), tuple(losses), loss_before, loss_after, moved)


def root_mean_square(tensor: Tensor) -> float:
    """Return the root mean square of a tensor of any shape, above zero."""
    return float(tensor.detach().square().mean().sqrt().clamp(min=1e-6))


class _Variable:
    """The tensors that are optimised, as part of a conditioning."""

    def __init__(self, start: Conditioning, with_pooled: bool) -> None:
        self.start = start
        self._extras = {
            key: tensor.clone().requires_grad_(True)
            for key, tensor in start.text_tensors.items()
            if with_pooled or key != POOLED
        }
        self.embedding = start.embedding.clone().requires_grad_(True)
        self.tensors = [self.embedding, *self._extras.values()]

    def conditioning(self) -> Conditioning:
        """Return the conditioning as it is now, in the graph."""
        return self.start.with_text(self.embedding, self._extras)


def _draws_at_once(
    denoiser: Denoiser,
    target_latent: TargetLatent,
    variable: _Variable,
    settings: EmbeddingSettings,
    free: int | None,
) -> int:
    noise = target_latent.draw_noise(denoiser, 1, settings.levels, torch.Generator().manual_seed(0))
    per_draw = graph_bytes(
        lambda: denoising_loss(denoiser, target_latent, noise, variable.conditioning()),
        weight_storages(denoiser.network),
    )
    trained = sum(tensor.numel() for tensor in variable.tensors)
    return draws_at_once(settings.draws, per_draw, trained, free, "Optimising the embedding")
