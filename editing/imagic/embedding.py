"""Stage 1 of Imagic: the embedding, near the target's, under which the frozen model paints this very photo."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.inference import enable_training
from .autograd.memory import fitting_draws, graph_bytes
from .autograd.out_of_place import out_of_place
from .conditioning import Entry, same_text_space
from .denoiser import Denoiser
from .fixed_noise_loss import Gained, Probe, Reporter, check_gradient, weight_storages
from .loss import Photo, check_levels, denoising_loss
from .scaled_adam import Descent

__all__ = ["EmbeddingFit", "EmbeddingSettings", "optimize_embedding"]


@dataclass(frozen=True)
class EmbeddingSettings:
    """How the embedding is optimised.

    Args:
        steps: Adam steps.
        rate: learning rate as a share of the embedding's root mean square, so that one value suits every encoder.
        draws: noise draws per step.
        levels: share of the timesteps used, from least (0) to most noise (1).
        pooled: optimise the pooled output as well, where there is one.
        seed: decides the noise.
    """

    steps: int = 100
    rate: float = 0.01
    draws: int = 4
    levels: tuple[float, float] = (0.0, 1.0)
    pooled: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.draws < 1 or not 0 < self.rate <= 10:
            raise InputError("Steps and draws have to be 1 or more, and the rate above 0.")
        check_levels(self.levels)


@dataclass(frozen=True, eq=False)
class EmbeddingFit(Gained):
    """An optimised embedding.

    Args:
        entry: the optimised conditioning entry.
        losses: mean loss of each step.
        before, after: loss over the same fixed noise draws, before and after.
        moved: |e_opt - e_start| / |e_start|.
    """

    entry: Entry
    losses: tuple[float, ...]
    before: float
    after: float
    moved: float

    def report(self) -> str:
        """A sentence for people, with a warning where the embedding has hardly moved."""
        text = (
            f"The embedding moved by {self.moved:.0%} of its length, and the loss on fixed noise fell from "
            f"{self.before:.4f} to {self.after:.4f} ({self.gain:.1%})."
        )
        if self.moved < 0.05 or self.gain < 0.005:
            text += (
                " That is little: edits may show nothing. Raise the rate or the steps until it moves by 10 % or more."
            )
        return text


def optimize_embedding(
    denoiser: Denoiser,
    latent: Tensor,  # [1, C, h, w], from the VAE
    target: Entry,
    settings: EmbeddingSettings | None = None,
    start: Entry | None = None,
    mask: Tensor | None = None,  # [1, H, W], 1 where the photo counts `mask_weight` fold
    mask_weight: float = 1.0,
    free: int | None = None,  # bytes of memory that may be used
    progress: Callable[..., None] = lambda step, total, preview=None: None,
) -> EmbeddingFit:
    """Minimise the denoising loss of the photo over the embedding, from the target's (or from a caption's).

    Returns:
        The fit; its entry has every other key of ``target``.

    Raises:
        InputError: several photos, a model without gradients, too little memory, a loss that explodes.

    Source: Imagic, section 3.2 (A); several noise draws per step instead of one.
    """
    settings = settings or EmbeddingSettings()
    rng = torch.Generator().manual_seed(settings.seed)
    with enable_training(), denoiser.training(), ExitStack() as stack:
        photo = Photo.of(denoiser, _normal(latent), mask, mask_weight)
        if start is not None:
            start, target = same_text_space(start, target, ("start", "target"))
        first = (start or target).trainable(denoiser.device)
        free_tensors = [first.embedding.clone().requires_grad_(True)]
        if settings.pooled and first.pooled is not None:
            free_tensors.append(first.pooled.clone().requires_grad_(True))

        def entry() -> Entry:
            return first.replaced(free_tensors[0], free_tensors[1] if len(free_tensors) > 1 else first.pooled)

        stack.enter_context(out_of_place(denoiser.network, check_gradient(denoiser, photo, entry())))
        one = photo.draws(denoiser, 1, settings.levels, torch.Generator().manual_seed(0))
        per_draw = graph_bytes(lambda: denoising_loss(denoiser, photo, one, entry()), weight_storages(denoiser.network))
        trained = sum(tensor.numel() for tensor in free_tensors)
        at_once = fitting_draws(settings.draws, per_draw, trained, free, "Optimising the embedding")
        probe = Probe(denoiser, photo, settings.levels, settings.seed)
        before = probe.loss(first)
        descent = Descent(
            [([tensor], settings.rate * _rms(tensor)) for tensor in free_tensors], denoiser.dtype == torch.float16
        )
        losses, reporter = [], Reporter(denoiser, photo, progress)
        for step in range(settings.steps):
            draws = photo.draws(denoiser, settings.draws, settings.levels, rng)
            losses.append(
                descent.step(
                    denoising_loss(denoiser, photo, part, entry()) * (len(part.sigma) / settings.draws)
                    for part in draws.parts(at_once)
                )
            )
            reporter.step(step + 1, settings.steps, entry())
        last = entry()
        found = last.replaced(last.embedding.detach(), None if last.pooled is None else last.pooled.detach())
        after = probe.loss(found)
    moved = float((found.embedding - first.embedding).norm() / first.embedding.norm().clamp(min=1e-12))
    placed = target.embedding
    pooled = None if found.pooled is None else found.pooled.to(placed.device, placed.dtype)
    result = target.replaced(found.embedding.to(placed.device, placed.dtype), pooled)
    return EmbeddingFit(result, tuple(losses), before, after, moved)


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().square().mean().sqrt().clamp(min=1e-6))


def _normal(latent: Tensor) -> Tensor:
    return latent.detach().clone()
