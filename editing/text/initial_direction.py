"""Where the search for a text edit starts: what sampled pictures that fit the sentence have in common.

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

__all__ = ["start_of"]

_AMOUNTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # standard deviations of W that are tried


def start_of(
    generator: GanGenerator,
    goal: TextGoal,
    root: Tensor,  # [D, D], unit coordinates -> codes, its columns the axes of W in their standard deviations
    codes: Tensor,  # [N, L, D]: the pictures to learn from, on which the amount is chosen
    rows: Sequence[int],  # that may change
    samples: int,
    l2: float,  # what a squared standard deviation costs
    stop_resolution: int | None,
    rng: torch.Generator,
    waiting: Callable[[], None] = lambda: None,  # called now and then; may raise to stop
) -> Tensor:
    """The direction of the sentence, as far as the score and ``l2`` want it: [D] in unit coordinates."""
    with torch.no_grad():
        drawn = _sampled(generator, samples, rng)
        shown = []
        for part in drawn.split(16):
            shown.append(goal.embed(_pictures(generator, part, stop_resolution)))
            waiting()
        fits = (torch.cat(shown) @ goal.change).cpu().double()
        away = (drawn[:, 0] - drawn[:, 0].mean(dim=0)).cpu().double()
        units = torch.linalg.solve(root.cpu().double(), away.t()).t()
        direction = F.normalize(_shrunk(units, fits - fits.mean()), dim=0).to(codes)
        seen = codes[:16]
        before = goal.embed(_pictures(generator, seen, stop_resolution))
        inside = torch.zeros(codes.shape[1], 1, device=codes.device)
        inside[list(rows)] = 1
        costs = []
        for amount in _AMOUNTS:
            edited = _pictures(generator, seen + amount * (root @ direction) * inside, stop_resolution)
            waiting()
            costs.append(float(goal.loss(edited, before).mean()) + l2 * amount**2)
        return direction * _AMOUNTS[costs.index(min(costs))]


def _shrunk(units: Tensor, values: Tensor) -> Tensor:
    """The covariance of ``units`` [N, D] with ``values`` [N], with what is likely chance taken off each axis."""
    found = units * values[:, None]
    mean, error = found.mean(dim=0), found.std(dim=0) / len(found) ** 0.5
    return mean * (1 - (error / mean).square()).clamp(min=0)


def _sampled(generator: GanGenerator, count: int, rng: torch.Generator) -> Tensor:
    labels = None
    if generator.label_dim:
        classes = torch.randint(generator.label_dim, (count,), generator=rng)
        labels = F.one_hot(classes, generator.label_dim).float()
    return generator.map(torch.randn(count, generator.z_dim, generator=rng), labels)


def _pictures(generator: GanGenerator, codes: Tensor, stop_resolution: int | None) -> Tensor:
    return generator.network.synthesis(codes, SynthesisOptions(stop_resolution=stop_resolution)).image
