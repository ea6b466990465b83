"""Concept steps: for each concept a direction in W from pictures without it to pictures with it.

Painting with donor features moves codes by them.
"""

from __future__ import annotations

import torch
from einops import reduce
from torch import Tensor

from ..common.fit import fit_attribute

__all__ = ["ABSENT", "PRESENT", "concept_steps"]

PRESENT, ABSENT = 0.3, 0.06  # of the concept's largest area (99 % quantile): from here it is there, below it is not
_MIN_PICTURES = 8  # with, and without, that a step needs


def concept_steps(codes: Tensor, areas: Tensor) -> dict[str, Tensor]:
    """Compute the steps, normals and levels of `ConceptUnits`.

    Pictures with and without are told apart by area; of a concept that is in all pictures, the eighths with the largest
    and the smallest. A concept whose area never changes has zeros.

    Args:
        codes: [N, L, D].
        areas: [N, P], the share of each picture that each concept covers.

    Returns:
        ``steps`` [P, 1, D], ``normals`` [P, D] and ``levels`` [P, 2].
    """
    w = reduce(codes, "n l d -> n d", "mean").float().cpu()
    steps, normals, levels = zip(*(_step(w, area) for area in areas.unbind(dim=1)), strict=True)
    return {"steps": torch.stack(steps), "normals": torch.stack(normals), "levels": torch.stack(levels)}


def _step(w: Tensor, area: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[N, D], [N] -> the step [1, D], the normal [D], and w . normal without and with the concept [2]."""
    largest = torch.quantile(area, 0.99)
    present, absent = area >= PRESENT * largest, area <= ABSENT * largest
    if min(int(present.sum()), int(absent.sum())) < _MIN_PICTURES:
        present, absent = area >= torch.quantile(area, 7 / 8), area <= torch.quantile(area, 1 / 8)
        score = area
    else:
        score = present.float()
    if float(score.std()) < 1e-9:
        return torch.zeros(1, w.shape[1]), torch.zeros(w.shape[1]), torch.zeros(2)
    step = (w[present].mean(dim=0) - w[absent].mean(dim=0))[None]
    normal = fit_attribute(w, score).normal
    return step, normal, torch.stack([(w[absent] @ normal).mean(), (w[present] @ normal).mean()])
