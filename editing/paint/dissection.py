"""GAN dissection (1811.10597): which units of a layer stand for which concepts, and how strongly they fire.

Two passes over the same codes, picture by picture, so that of each only its code and small masks are kept: the first
finds how units are distributed and where concepts are, the second compares thresholded units with concepts.
Thresholds are chosen on every other picture and scored on the rest.

Beside the units stands, for each concept, a step in W from pictures without it to pictures with it: what painting with
donor features moves codes by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.progan import ARCHITECTURE
from ...models.gan.synthesis_run import SynthesisOptions
from ..common.fit import fit_attribute
from ..common.pictures import to_rgb
from .concepts import ConceptUnits
from .unit_effects import Score, causal_effects

__all__ = ["RANKINGS", "THRESHOLDS", "dissect", "dissect_and_rank", "middle_layer"]

Label = Callable[[Tensor, slice], Tensor]  # pictures [b, 3, H, W] and which of all -> soft masks [b, P, h, w]
Progress = Callable[..., None]
THRESHOLDS = ("information", "top 1 %")
RANKINGS = ("effect", "difference", "overlap")
FEWEST = 64
_QUANTILES = 100
_RAREST = 1 / 1000  # the share of pixels above the highest threshold; the lowest is exceeded by all
_KEPT_PIXELS = 64  # of each picture, for the quantiles
_MOST_PIXELS = 2**17  # of all pictures together: more of them give fewer each
_UNITS_AT_ONCE = 64  # whose values are sorted together
_COMPARED = 64  # px: the height at which units and concepts are compared, at most
_PRESENT, _ABSENT = 0.3, 0.06  # of the concept's largest area (99 % quantile): from here it is there, below it is not
_KEPT_BYTES = 256 * 1024**2  # of features, from the first pass to the second; the rest is drawn again
_TRIED = 128  # pictures among which those with and without a concept are found for its units' effects
_FEW = 8  # pictures with, and without, that a step in W needs


def middle_layer(generator: GanGenerator) -> int:
    """The layer to dissect and paint on when nothing else is asked for, by its share of the picture's height.

    A Progressive GAN: a thirty-second, as published (8 of 256 px). StyleGAN2, whose later layers have styles of their
    own: a quarter, where units cover parts best and painting holds best on the demo generator.
    """
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(layer)[1] for layer in range(len(synthesis.layers))]
    share = 32 if generator.network.config.architecture == ARCHITECTURE else 4
    wanted = max(heights[0], heights[-1] // share)
    return max(layer for layer, height in enumerate(heights) if height <= wanted)


def dissect(
    generator: GanGenerator,
    codes: Tensor,  # [N, L, D], a thousand or more for figures to trust
    label: Label,  # the segmenter
    names: Sequence[str],  # P concepts, in the order of its masks
    layer: int,
    threshold: str = "information",  # "information": maximal information quality ratio; "top 1 %"
    chunk: int = 16,
    progress: Progress | None = None,
) -> ConceptUnits:
    """Score every unit of ``layer`` against every concept.

    ``effect`` of the result is the difference of a unit inside and outside of its concept in standard deviations;
    `causal_effects` of unit_effects.py replaces it by what was measured. Deterministic.

    Raises InputError for too few codes, codes and layers that do not fit, and masks in another number than the names.
    """
    if threshold not in THRESHOLDS:
        raise InputError(f"Unknown threshold '{threshold}'; expected one of {', '.join(THRESHOLDS)}.")
    generator.check_latent(codes, "", "The codes to dissect with")
    if len(codes) < FEWEST:
        raise InputError(f"{len(codes)} pictures are too few to dissect; take {FEWEST} at least, better 1,000.")
    run = _Run(generator, codes, layer, chunk, progress)
    survey = _Survey(run, label, len(names))
    histogram, outside = _compare(run, survey)
    iou, chosen = _scores(histogram, survey.levels, threshold)
    spread = survey.spread.clamp(min=1e-6)
    steps = _steps_in_w(codes, survey.areas)
    return ConceptUnits(
        layer=layer,
        names=names,
        iou=iou,
        effect=(survey.inside - outside).abs() / spread,
        top=survey.top,
        inside=survey.inside,
        outside=outside,
        threshold=chosen,
        share=survey.areas.mean(dim=0),
        family=generator.family,
        **steps,
    )


def dissect_and_rank(
    generator: GanGenerator,
    codes: Tensor,  # [N, L, D]
    label: Label,
    names: Sequence[str],
    layer: int | None = None,  # None: `middle_layer`
    threshold: str = "information",
    ranking: str = "effect",
    score: Score | None = None,  # the segmenter with gradients, pictures -> soft masks; needed for "effect"
    pictures: int = 16,  # of each concept, whose units' effects are measured
    progress: Progress | None = None,
) -> ConceptUnits:
    """`dissect`, with units ranked by what they cause ("effect"), by how far they differ inside and outside of their
    concept ("difference", in standard deviations), or by IoU ("overlap").

    Raises InputError as `dissect`, for unknown rankings, and for effects without a segmenter that has gradients.
    """
    if ranking not in RANKINGS:
        raise InputError(f"Unknown ranking '{ranking}'; expected one of {', '.join(RANKINGS)}.")
    if ranking == "effect" and score is None:
        raise InputError(
            "Effects are measured with a segmenter that looks at changed pictures; masks of fixed pictures cannot do "
            "it. Rank by 'difference' or 'overlap'."
        )
    layer = middle_layer(generator) if layer is None else layer
    steps = 2 * len(codes) + (len(names) if ranking == "effect" else 0)

    def report(begin: int) -> Progress | None:
        return progress and (lambda step, total, preview=None: progress(begin + step, steps, preview))

    concepts = dissect(generator, codes, label, names, layer, threshold, progress=report(0))
    if ranking == "overlap":
        return replace(concepts, effect=concepts.iou)
    if ranking == "difference":
        return concepts
    return causal_effects(generator, concepts, codes[:_TRIED], score, pictures, report(2 * len(codes)))


@dataclass
class _Run:
    """The codes, in parts, and how far the work has come."""

    generator: GanGenerator
    codes: Tensor
    layer: int
    chunk: int
    progress: Progress | None
    done: int = 0

    def parts(self) -> list[slice]:
        return [slice(k, min(k + self.chunk, len(self.codes))) for k in range(0, len(self.codes), self.chunk)]

    def count(self, part: slice, preview: Tensor | None = None) -> None:
        self.done += part.stop - part.start
        if self.progress is not None:
            self.progress(self.done, 2 * len(self.codes), preview)

    def synthesis(self, part: slice, whole: bool):
        codes = self.codes[part].to(self.generator.device)
        stop = None if whole else self.layer
        return self.generator.network.synthesis(
            codes, SynthesisOptions(want_features=(self.layer,), stop_layer=stop, first_index=part.start)
        )


class _Survey:
    """The first pass: quantiles of every unit, masks of every picture, means inside the concepts."""

    def __init__(self, run: _Run, label: Label, count: int) -> None:
        _, height, width = run.generator.network.synthesis.layer_size(run.layer)
        scale = max(1, min(_COMPARED, run.generator.resolution[0]) // height)
        self.size = (height * scale, width * scale)
        sampled, masks, areas = [], [], []
        self.kept: list[Tensor] = []  # features of the first parts
        total = weight = square = plain = 0.0
        pixels_each = max(1, min(_KEPT_PIXELS, _MOST_PIXELS // len(run.codes)))
        for part in run.parts():
            result = run.synthesis(part, whole=True)
            features = result.features[run.layer].float()
            # None after a gap: a part is found again by its place, and the last one may be small enough to fit.
            if len(self.kept) == len(masks) and features.numel() * 4 * (len(self.kept) + 1) <= _KEPT_BYTES:
                self.kept.append(features.cpu())
            pictures = to_rgb(result.image)
            soft = label(pictures, part).to(features)
            if soft.ndim != 4 or soft.shape[:2] != (len(features), count):
                raise InputError(
                    f"The part masks have shape {list(soft.shape)}; expected [{len(features)}, {count}, h, w]: one "
                    "mask for each of the concepts in each of the pictures."
                )
            areas.append(soft.mean(dim=(2, 3)).cpu())
            masks.append((_resized(soft, self.size) > 0.5).cpu())
            small = _resized(soft, features.shape[2:])
            total = total + torch.einsum("bchw,bphw->pc", features, small).cpu().double()
            weight = weight + small.sum(dim=(0, 2, 3)).cpu().double()
            plain = plain + features.sum(dim=(0, 2, 3)).cpu().double()
            square = square + features.square().sum(dim=(0, 2, 3)).cpu().double()
            flat = features.flatten(2)
            for picture, values in enumerate(flat, part.start):
                # A seed of its own: the quantiles do not depend on how the pictures are divided.
                rng = torch.Generator().manual_seed(picture)
                chosen = torch.randint(height * width, (pixels_each,), generator=rng)
                sampled.append(values[:, chosen.to(values.device)].half().cpu())
            run.count(part, pictures[0] * 0.5 + 0.5)
        pixels = len(run.codes) * height * width
        self.inside = (total / weight[:, None].clamp(min=1e-6)).float().cpu()
        self.spread = (square / pixels - (plain / pixels).square()).clamp(min=0).sqrt().float().cpu()
        self.masks, self.areas = torch.cat(masks), torch.cat(areas)  # [N, P, s, s] bool, [N, P]
        drawn = pixels_each * len(run.codes)
        exceeded = torch.logspace(0, torch.tensor(_RAREST).log10().item(), _QUANTILES)
        at = ((1 - exceeded) * (drawn - 1)).round().long()
        levels, top = [], []
        for first in range(0, len(sampled[0]), _UNITS_AT_ONCE):
            units = slice(first, first + _UNITS_AT_ONCE)
            ordered = torch.cat([values[units] for values in sampled], dim=1).float().sort(dim=1).values
            levels.append(ordered[:, at])
            top.append(ordered[:, round(0.99 * (drawn - 1))])
        self.levels = torch.cat(levels).contiguous()  # [C, T] ascending: the thresholds that are tried
        self.top = torch.cat(top)


def _compare(run: _Run, survey: _Survey) -> tuple[Tensor, Tensor]:
    """The second pass: [2, P + 1, C, T + 1] counts of pixels per threshold bin for even and odd pictures (the last
    row counts all pixels), and [P, C] means outside: where the concept would be, on pictures without it."""
    concepts, units, bins = survey.masks.shape[1], len(survey.levels), survey.levels.shape[1] + 1
    counts = torch.zeros(2, concepts + 1, units * bins)
    without = survey.areas <= _absent(survey.areas)
    prior = survey.masks.sum(dim=0).float() / len(survey.masks)  # [P, s, s]
    total, weight = torch.zeros(concepts, units), torch.zeros(concepts)
    shift = (torch.arange(units) * bins)[:, None]
    levels = survey.levels
    for number, part in enumerate(run.parts()):
        if number < len(survey.kept):
            features = survey.kept[number]
        else:
            features = run.synthesis(part, whole=False).features[run.layer].float().cpu()
        enlarged = F.interpolate(features, survey.size, mode="bilinear", align_corners=False)
        for k, picture in enumerate(range(part.start, part.stop)):
            values = enlarged[k].flatten(1)  # [C, pixels]
            keys = torch.searchsorted(levels, values.contiguous(), right=True) + shift
            half = counts[picture % 2]
            half[-1] += torch.bincount(keys.flatten(), minlength=units * bins)
            for p in range(concepts):
                covered = survey.masks[picture, p].flatten()
                if bool(covered.any()):
                    half[p] += torch.bincount(keys[:, covered].flatten(), minlength=units * bins)
        # Elsewhere in the same picture serves where no picture is without the concept.
        region = torch.where(without[part][:, :, None, None], prior, prior * ~survey.masks[part])
        region = region * torch.where(without.any(dim=0), without[part].float(), 1.0)[:, :, None, None]
        total += torch.einsum("bchw,bphw->pc", enlarged, region)
        weight += region.sum(dim=(0, 2, 3))
        run.count(part)
    return counts.unflatten(2, (units, bins)), total / weight[:, None].clamp(min=1e-6)


def _scores(histogram: Tensor, levels: Tensor, threshold: str) -> tuple[Tensor, Tensor]:
    """IoU [P, C] on the odd pictures at the thresholds [P, C] chosen on the even ones."""
    above = histogram.flip(-1).cumsum(-1).flip(-1)[..., 1:].double()  # [2, P + 1, C, T]: pixels above each level
    pixels = histogram[:, -1, 0].sum(dim=-1).double()  # [2]
    covered = histogram[:, :-1, 0].sum(dim=-1).double()  # [2, P]
    both, on = above[:, :-1], above[:, -1:]
    if threshold == "information":
        quality = _information_quality(both[0], on[0], covered[0], pixels[0])
        best = quality.argmax(dim=-1)  # [P, C]
    else:
        share = on[0, 0] / pixels[0]
        best = (share - 0.01).abs().argmin(dim=-1).expand(both.shape[1], -1)
    pick = best[..., None]
    common = both[1].gather(-1, pick)[..., 0]
    union = on[1].expand_as(both[1]).gather(-1, pick)[..., 0] + covered[1][:, None] - common
    chosen = levels.expand(len(best), -1, -1).gather(-1, pick)[..., 0]
    return (common / union.clamp(min=1)).float(), chosen.clone()


def _information_quality(both: Tensor, on: Tensor, covered: Tensor, pixels: Tensor) -> Tensor:
    """I(concept; unit on) / H(concept, unit on) of every concept, unit and threshold."""
    a = both / pixels
    b = (covered[:, None, None] - both) / pixels  # the concept, unit off
    c = (on - both) / pixels  # the unit on, elsewhere
    d = 1 - a - b - c

    def entropy(*shares: Tensor) -> Tensor:
        return -sum(torch.xlogy(share.clamp(min=0), share.clamp(min=0)) for share in shares)

    together = entropy(a, b, c, d)
    mutual = entropy(a + b, c + d) + entropy(a + c, b + d) - together
    return mutual / together.clamp(min=1e-12)


def _absent(areas: Tensor) -> Tensor:
    return _ABSENT * torch.quantile(areas, 0.99, dim=0)


def _steps_in_w(codes: Tensor, areas: Tensor) -> dict[str, Tensor]:
    """`steps` [P, 1, D], `normals` [P, D] and `levels` [P, 2] of ConceptUnits.

    With and without are told apart by area; of a concept that is in all pictures, the eighths with most and least.
    """
    w = codes.mean(dim=1).float().cpu()
    steps, normals, levels = [], [], []
    for p in range(areas.shape[1]):
        area = areas[:, p]
        most = torch.quantile(area, 0.99)
        there, gone = area >= _PRESENT * most, area <= _ABSENT * most
        if min(int(there.sum()), int(gone.sum())) < _FEW:
            there, gone = area >= torch.quantile(area, 7 / 8), area <= torch.quantile(area, 1 / 8)
            score = area
        else:
            score = there.float()
        if float(score.std()) < 1e-9:
            steps.append(torch.zeros(1, w.shape[1]))
            normals.append(torch.zeros(w.shape[1]))
            levels.append(torch.zeros(2))
            continue
        steps.append((w[there].mean(dim=0) - w[gone].mean(dim=0))[None])
        normal = fit_attribute(w, score).normal
        normals.append(normal)
        levels.append(torch.stack([(w[gone] @ normal).mean(), (w[there] @ normal).mean()]))
    return {"steps": torch.stack(steps), "normals": torch.stack(normals), "levels": torch.stack(levels)}


def _resized(masks: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(masks.shape[2:]) == tuple(size):
        return masks
    return F.interpolate(masks, tuple(size), mode="bilinear", antialias=True, align_corners=False)
