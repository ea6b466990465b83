"""Initial direction of a text edit: a regression of the sentence's score on sampled codes.

A picture without a hat gives no gradient toward one: nothing changes until the code has moved far, and on the way the
optimiser finds colours that please the scorer. But among a few hundred samples some wear hats. Their codes and their
scores give a direction at once, without labels (a regression in W as InterFaceGAN's, 1907.10786, with the scorer's
opinion in place of labels), and from there the search has a hat to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from .clip_loss import TextGoal

__all__ = ["initial_direction"]

_BATCH = 16  # pictures per pass
_AMOUNTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # standard deviations of W that are tried


def initial_direction(
    generator: GanGenerator,
    goal: TextGoal,
    basis: Tensor,  # [D, D], unit coordinates -> codes, its columns the axes of W in their standard deviations
    codes: Tensor,  # [N, L, D]: the pictures to learn from, on which the amount is chosen
    rows: Sequence[int],  # that may change
    samples: int,
    l2: float,  # what a squared standard deviation costs
    stop_resolution: int | None,
    rng: torch.Generator,
    on_batch: Callable[[], None] = lambda: None,  # called after each batch of pictures; may raise to stop
) -> Tensor:
    """Estimate the direction of the sentence, as long as the score and ``l2`` ask for: [D] in unit coordinates."""
    with torch.no_grad():
        sampled = _sample_codes(generator, samples, rng)
        embeddings = []
        for batch in sampled.split(_BATCH):
            embeddings.append(goal.embed(_draw(generator, batch, stop_resolution)))
            on_batch()
        scores = (torch.cat(embeddings) @ goal.change).cpu().double()
        offsets = (sampled[:, 0] - sampled[:, 0].mean(dim=0)).cpu().double()
        units = torch.linalg.solve(basis.cpu().double(), offsets.t()).t()
        direction = F.normalize(_shrunk_covariance(units, scores - scores.mean()), dim=0).to(codes)
        some_codes = codes[:_BATCH]
        unedited = goal.embed(_draw(generator, some_codes, stop_resolution))
        row_mask = torch.zeros(codes.shape[1], 1, device=codes.device)
        row_mask[list(rows)] = 1
        costs = []
        for amount in _AMOUNTS:
            edited = _draw(generator, some_codes + amount * (basis @ direction) * row_mask, stop_resolution)
            on_batch()
            costs.append(float(goal.loss(edited, unedited).mean()) + l2 * amount**2)
        return direction * _AMOUNTS[costs.index(min(costs))]


def _shrunk_covariance(units: Tensor, scores: Tensor) -> Tensor:
    """Return the covariance of ``units`` [N, D] with ``scores`` [N], less what is likely chance on each axis: [D]."""
    products = units * scores[:, None]
    mean, error = products.mean(dim=0), products.std(dim=0) / len(products) ** 0.5
    return mean * (1 - (error / mean).square()).clamp(min=0)


def _sample_codes(generator: GanGenerator, count: int, rng: torch.Generator) -> Tensor:
    """Sample codes [count, L, D], with labels at random where the generator has classes."""
    labels = None
    if generator.label_dim:
        classes = torch.randint(generator.label_dim, (count,), generator=rng)
        labels = F.one_hot(classes, generator.label_dim).float()
    return generator.map(torch.randn(count, generator.z_dim, generator=rng), labels)


def _draw(generator: GanGenerator, codes: Tensor, stop_resolution: int | None) -> Tensor:
    return generator.network.synthesis(codes, SynthesisOptions(stop_resolution=stop_resolution)).image
