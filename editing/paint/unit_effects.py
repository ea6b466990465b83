"""What units cause: how much of a concept disappears, and appears, with each of them.

Dissection finds units that fire where a concept is; whether they make it is another question (GAN dissection answers it
by ACE, a learned mix of units). Here all units together are taken from what they are inside the concept to what they
are outside of it (and the other way round), and the change of a segmenter's answer is shared out among them along the
way (Aumann and Shapley's values; "integrated gradients" in 1703.01365). The shares add up to the whole change, nothing
is trained, and one backward pass serves all units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference, enable_training
from ..common.pictures import to_rgb
from .concepts import ConceptUnits

__all__ = ["causal_effects", "shares_along"]

Score = Callable[[Tensor], Tensor]  # pictures [b, 3, H, W] -> soft masks [b, P, h, w], with gradients
_POINTS = 4  # of the way, at the middles of equal parts
_PRESENT, _ABSENT = 0.3, 0.06  # of the largest area found, as in dissection.py
_NOTHING = 1e-4  # an area of the picture in which there is no concept
_FEW = 4  # pictures without it that inserting needs
_AT_ONCE = 8  # pictures in one graph, at most


def causal_effects(
    generator: GanGenerator,
    concepts: ConceptUnits,
    codes: Tensor,  # [N, L, D]: a hundred or more, so that each concept is in some and missing in some
    score: Score,
    pictures: int = 16,  # of each concept, for each way
    progress: Callable[..., None] | None = None,
) -> ConceptUnits:
    """``concepts`` with the measured `effect` [P, C]: the mean of the shares in removing and in inserting, per concept.

    A concept that is in all the pictures is only removed, one that is in none keeps its effect.
    """
    with enable_training():
        found = concepts.effect.clone()  # a normal tensor, to be written to
        codes = clone_from_inference(codes.to(generator.device, torch.float32)).detach()
        features, masks = _survey(generator, concepts.layer, codes, score)
        areas = masks.mean(dim=(2, 3))
        for p in range(len(concepts.names)):
            most = areas[:, p].max()
            order = areas[:, p].argsort(descending=True)
            there = order[areas[order, p] >= _PRESENT * most]
            there = there[torch.linspace(0, len(there) - 1, min(pictures, len(there))).long()]
            gone = order.flip(0)[areas[order.flip(0), p] <= _ABSENT * most][:pictures]
            outside, inside = (
                clone_from_inference(level).to(codes) for level in (concepts.outside[p], concepts.inside[p])
            )
            if not len(there) or float(most) < _NOTHING:
                continue
            region = _region(masks[there, p], features.shape[2:])
            ways = [(there, region, outside)]
            if len(gone) >= _FEW:
                ways.append((gone, region[torch.arange(len(gone)) % len(region)], inside))
            shares = [
                shares_along(generator, concepts.layer, codes[chosen], features[chosen], where, goal, score, p)
                for chosen, where, goal in ways
            ]
            # In removing, a good unit makes the area smaller. Each way counts as much as the other.
            signed = [-shares[0], *shares[1:]]
            found[p] = torch.stack([share / share.sum().abs().clamp(min=1e-9) for share in signed]).mean(0).to(found)
            if progress is not None:
                progress(p + 1, len(concepts.names), None)
    return replace(concepts, effect=found)


def _survey(generator: GanGenerator, layer: int, codes: Tensor, score: Score) -> tuple[Tensor, Tensor]:
    features, masks = [], []
    with torch.no_grad():
        for part in codes.split(16):
            result = generator.network.synthesis(part, SynthesisOptions(want_features=(layer,)))
            features.append(result.features[layer].contiguous())
            masks.append(score(to_rgb(result.image)))
    return torch.cat(features), torch.cat(masks)


def _region(masks: Tensor, size) -> Tensor:
    """[n, 1, h, w]: the concept and one cell around it."""
    small = F.interpolate(masks[:, None], tuple(size), mode="bilinear", antialias=True, align_corners=False)
    return (F.max_pool2d(small, 3, 1, 1) > 0.25).to(masks)


def shares_along(
    generator: GanGenerator,
    layer: int,
    codes: Tensor,  # [n, L, D]
    features: Tensor,  # [n, C, h, w]
    region: Tensor,  # [n, 1, h, w]
    goal: Tensor,  # [C]
    score: Score,
    concept: int,
) -> Tensor:
    """[C]: each unit's share in the change of the concept's area when all units in the region go to ``goal``."""
    shares = torch.zeros(features.shape[1], dtype=torch.float64)
    synthesis = generator.network.synthesis
    at_once = generator.pictures_per_graph(_AT_ONCE)
    for k in range(0, len(codes), at_once):
        part = slice(k, k + at_once)
        way = (goal[:, None, None] - features[part]) * region[part]
        with torch.no_grad():  # the picture so far, which a resumed run needs
            state = synthesis(codes[part], SynthesisOptions(stop_layer=layer)).state
        for point in range(_POINTS):
            at = (features[part] + (point + 0.5) / _POINTS * way).requires_grad_(True)
            image = to_rgb(synthesis(codes[part], SynthesisOptions(resume=replace(state, features=at))).image)
            area = score(image)[:, concept].mean(dim=(1, 2)).sum()
            (slope,) = torch.autograd.grad(area, at)
            shares += (slope * way).sum(dim=(0, 2, 3)).cpu().double() / _POINTS
    return (shares / len(codes)).float()
