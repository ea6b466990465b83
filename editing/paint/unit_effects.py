"""Unit effects: how much of a concept disappears, and appears, with each unit of a layer.

Dissection finds units that fire where a concept is; whether they make it is another question (GAN dissection answers it
by ACE, a learned mix of units). Here all units together are taken from what they are inside the concept to what they
are outside of it (and the other way round), and the change of a segmenter's answer is shared out among them along the
way (Aumann and Shapley's values; "integrated gradients" in 1703.01365). The shares add up to the whole change, nothing
is trained, and one backward pass serves all units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference, enable_training
from ..common.pictures import to_rgb
from ..common.progress import Progress, silent
from .concept_steps import ABSENT, PRESENT
from .concepts import ConceptUnits

__all__ = ["causal_effects", "shares_along"]

Score = Callable[[Tensor], Tensor]  # pictures [b, 3, H, W] -> soft masks [b, P, h, w], with gradients
_POINTS = 4  # of the way, at the middles of equal parts
_MIN_AREA = 1e-4  # of the picture: below it there is no concept
_MIN_ABSENT = 4  # pictures without it that inserting needs
_AT_ONCE = 8  # pictures in one graph, at most
_PER_PASS = 16  # pictures without a graph
_INSIDE = 0.25  # of a mask, resized and grown by a cell: from here a cell belongs to the region


def causal_effects(
    generator: GanGenerator,
    concepts: ConceptUnits,
    codes: Tensor,
    score: Score,
    pictures: int = 16,
    progress: Progress | None = None,
) -> ConceptUnits:
    """Measure the effect of each unit: the mean of its shares in removing and in inserting a concept.

    A concept that is in all the pictures is only removed, one that is in none keeps its effect.

    Args:
        generator: that was dissected.
        concepts: of P concepts and C units.
        codes: [N, L, D]: a hundred or more, so that each concept is in some and missing in some.
        score: the segmenter with gradients, pictures [b, 3, H, W] in -1..1 -> soft masks [b, P, h, w].
        pictures: of each concept, for removing and for inserting.
        progress: of P concepts.

    Returns:
        ``concepts`` with the measured `effect` [P, C].
    """
    progress = progress or silent
    with enable_training():
        effect = concepts.effect.clone()  # a normal tensor, to be written to
        codes = clone_from_inference(codes.to(generator.device, torch.float32)).detach()
        features, masks = _survey(generator, concepts.layer, codes, score)
        areas = masks.mean(dim=(2, 3))
        for p in range(len(concepts.names)):
            present, absent = _with_and_without(areas[:, p], pictures)
            if not len(present) or float(areas[:, p].max()) < _MIN_AREA:
                continue
            region = _region(masks[present, p], features.shape[2:])
            outside, inside = (
                clone_from_inference(level).to(codes) for level in (concepts.outside[p], concepts.inside[p])
            )

            def shares(index: Tensor, region: Tensor, goal: Tensor, p: int = p) -> Tensor:
                return shares_along(generator, concepts.layer, codes[index], features[index], region, goal, score, p)

            signed = [-shares(present, region, outside)]  # in removing, a good unit makes the area smaller
            if len(absent) >= _MIN_ABSENT:
                signed.append(shares(absent, region[torch.arange(len(absent)) % len(region)], inside))
            effect[p] = _mean_share(signed).to(effect)
            progress(p + 1, len(concepts.names))
    return replace(concepts, effect=effect)


def _with_and_without(area: Tensor, pictures: int) -> tuple[Tensor, Tensor]:
    """[N] -> indices of pictures with a concept, spread over their areas, and of those without; so many at most."""
    largest = area.max()
    order = area.argsort(descending=True)
    present = order[area[order] >= PRESENT * largest]
    present = present[torch.linspace(0, len(present) - 1, min(pictures, len(present))).long()]
    order = order.flip(0)
    return present, order[area[order] <= ABSENT * largest][:pictures]


def _mean_share(shares: Sequence[Tensor]) -> Tensor:
    """Average shares [C] of removing and inserting, each of which counts as much as the other."""
    return torch.stack([share / share.sum().abs().clamp(min=1e-9) for share in shares]).mean(0)


def _survey(generator: GanGenerator, layer: int, codes: Tensor, score: Score) -> tuple[Tensor, Tensor]:
    """Draw codes [N, L, D]: features of the layer [N, C, h, w], and soft masks [N, P, h, w]."""
    features, masks = [], []
    with torch.no_grad():
        for batch in codes.split(_PER_PASS):
            result = generator.network.synthesis(batch, SynthesisOptions(want_features=(layer,)))
            features.append(result.features[layer].contiguous())
            masks.append(score(to_rgb(result.image)))
    return torch.cat(features), torch.cat(masks)


def _region(masks: Tensor, size: Sequence[int]) -> Tensor:
    """[n, H, W] -> [n, 1, h, w]: the concept and one cell around it."""
    small = F.interpolate(masks[:, None], tuple(size), mode="bilinear", antialias=True, align_corners=False)
    return (F.max_pool2d(small, 3, 1, 1) > _INSIDE).to(masks)


def shares_along(
    generator: GanGenerator,
    layer: int,
    codes: Tensor,
    features: Tensor,
    region: Tensor,
    goal: Tensor,
    score: Score,
    concept: int,
) -> Tensor:
    """Compute each unit's share in the change of a concept's area when all units in a region go to a goal.

    Integrated gradients (1703.01365) over the straight way, averaged over the pictures.

    Args:
        generator: that draws the pictures.
        layer: of the units.
        codes: [n, L, D].
        features: [n, C, h, w], of the layer.
        region: [n, 1, h, w] in 0..1.
        goal: [C], the units' values at the end of the way.
        score: the segmenter with gradients.
        concept: the index of its mask.

    Returns:
        [C].
    """
    shares = torch.zeros(features.shape[1], dtype=torch.float64)
    synthesis = generator.network.synthesis
    at_once = generator.pictures_per_graph(_AT_ONCE)
    for k in range(0, len(codes), at_once):
        batch = slice(k, k + at_once)
        displacement = (goal[:, None, None] - features[batch]) * region[batch]
        with torch.no_grad():  # the picture so far, which a resumed run needs
            state = synthesis(codes[batch], SynthesisOptions(stop_layer=layer)).state
        for point in range(_POINTS):
            x = (features[batch] + (point + 0.5) / _POINTS * displacement).requires_grad_(True)
            image = synthesis(codes[batch], SynthesisOptions(resume=replace(state, features=x))).image
            area = score(to_rgb(image))[:, concept].mean(dim=(1, 2)).sum()
            (slope,) = torch.autograd.grad(area, x)
            shares += (slope * displacement).sum(dim=(0, 2, 3)).cpu().double() / _POINTS
    return (shares / len(codes)).float()
