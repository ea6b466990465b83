"""GAN dissection (1811.10597): which units of a layer stand for which concepts, and how strongly they fire.

Two passes over the same codes, picture by picture, so that of each only its code and small masks are kept: the first
finds how units are distributed and where concepts are, the second compares thresholded units with concepts.
Thresholds are chosen on every other picture and scored on the other half.

Beside the units stands, for each concept, a step in W from pictures without it to pictures with it (concept_steps.py):
what painting with donor features moves codes by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.gan.progan import ARCHITECTURE
from ...models.gan.synthesis_run import SynthesisOptions, SynthesisResult
from ..common.pictures import to_rgb
from ..common.progress import Progress, silent, stage
from .concept_steps import ABSENT, concept_steps
from .concepts import ConceptUnits
from .painting import check_paintable
from .unit_effects import Score, causal_effects

__all__ = ["RANKINGS", "THRESHOLDS", "dissect", "dissect_and_rank", "middle_layer"]

Label = Callable[[Tensor, slice], Tensor]  # pictures [b, 3, H, W] and which of all -> soft masks [b, P, h, w]
THRESHOLDS = ("information", "top 1 %")
RANKINGS = ("effect", "difference", "overlap")
FEWEST = 64
_QUANTILES = 100
_RAREST = 1 / 1000  # the share of pixels above the highest threshold; the lowest is exceeded by all
_PICTURE_SAMPLES = 64  # pixels of each picture, for the quantiles
_MAX_SAMPLES = 2**17  # pixels of all pictures together: more pictures give fewer each
_UNITS_AT_ONCE = 64  # whose values are sorted together
_LARGEST_LAYER = 64  # px: the height of the layer that is chosen, at most
_COMPARED = 64  # px: the height at which units and concepts are compared, at most
_CACHE_BYTES = 256 * 1024**2  # of features, from the first pass to the second; the others are drawn again
_EFFECT_PICTURES = 128  # among which those with and without a concept are found for its units' effects


def middle_layer(generator: GanGenerator) -> int:
    """Choose the layer to dissect and paint on when nothing else is asked for, by its share of the picture's height.

    A Progressive GAN: a thirty-second, as published (8 of 256 px). StyleGAN2, whose later layers have styles of their
    own: a quarter, where units cover parts best and painting holds best on the demo generator, and 64 px at most: later
    layers of large pictures draw textures, with few channels and 16 times the memory.
    """
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(layer)[1] for layer in range(len(synthesis.layers))]
    share = 32 if generator.network.config.architecture == ARCHITECTURE else 4
    largest = max(heights[0], min(heights[-1] // share, _LARGEST_LAYER))
    return max(layer for layer, height in enumerate(heights) if height <= largest)


def dissect(
    generator: GanGenerator,
    codes: Tensor,
    label: Label,
    names: Sequence[str],
    layer: int,
    threshold: str = "information",
    chunk: int = 16,
    progress: Progress | None = None,
) -> ConceptUnits:
    """Score every unit of a layer against every concept. Deterministic.

    ``effect`` of the result is the difference of a unit inside and outside of its concept in standard deviations;
    `causal_effects` of unit_effects.py replaces it by what was measured.

    Args:
        generator: whose layer it is.
        codes: [N, L, D], a thousand or more for figures to trust.
        label: the segmenter, pictures [b, 3, H, W] in -1..1 and their slice of all -> soft masks [b, P, h, w] in 0..1.
        names: P concepts, in the order of its masks.
        layer: that is dissected.
        threshold: one of `THRESHOLDS`: "information" (maximal information quality ratio), or "top 1 %".
        chunk: pictures per pass.
        progress: of 2 N pictures, with previews.

    Raises:
        InputError: too few codes, codes and layers that do not fit, or masks in another number than the names.
    """
    check_choice("threshold", threshold, THRESHOLDS)
    generator.check_latent(codes, "", "The codes to dissect with")
    check_paintable(generator)
    if len(codes) < FEWEST:
        raise InputError(
            f"{len(codes)} pictures are too few to dissect; set samples to {FEWEST} at least, better 1,000."
        )
    run = _Run(generator, codes, layer, chunk, progress or silent)
    survey = _survey(run, label, len(names))
    histogram, outside = _compare(run, survey)
    iou, thresholds = _scores(histogram, survey.levels, threshold)
    return ConceptUnits(
        layer=layer,
        names=names,
        iou=iou,
        effect=(survey.inside - outside).abs() / survey.spread.clamp(min=1e-6),
        top=survey.top,
        inside=survey.inside,
        outside=outside,
        threshold=thresholds,
        share=survey.areas.mean(dim=0),
        family=generator.family,
        **concept_steps(codes, survey.areas),
    )


def dissect_and_rank(
    generator: GanGenerator,
    codes: Tensor,
    label: Label,
    names: Sequence[str],
    layer: int | None = None,
    threshold: str = "information",
    ranking: str = "effect",
    score: Score | None = None,
    pictures: int = 16,
    progress: Progress | None = None,
) -> ConceptUnits:
    """Dissect a layer and rank its units.

    Args:
        generator: whose layer it is.
        codes: [N, L, D].
        label: the segmenter, as of `dissect`.
        names: P concepts.
        layer: None: `middle_layer`.
        threshold: as of `dissect`.
        ranking: "effect": by what units cause; "difference": by how far they differ inside and outside of their concept
            (in standard deviations); "overlap": by IoU.
        score: the segmenter with gradients, pictures -> soft masks; needed for "effect".
        pictures: of each concept, whose units' effects are measured.
        progress: of all passes.

    Raises:
        InputError: as `dissect`; an unknown ranking, or effects without a segmenter that has gradients.
    """
    check_choice("ranking", ranking, RANKINGS)
    if ranking == "effect" and score is None:
        raise InputError(
            "Effects are measured with a segmenter that looks at changed pictures; masks of fixed pictures cannot do "
            "it. Set ranking to 'difference' or 'overlap'."
        )
    check_paintable(generator)
    layer = middle_layer(generator) if layer is None else layer
    steps = 2 * len(codes) + (len(names) if ranking == "effect" else 0)

    concepts = dissect(generator, codes, label, names, layer, threshold, progress=stage(progress, 0, steps))
    if ranking == "overlap":
        return replace(concepts, effect=concepts.iou)
    if ranking == "difference":
        return concepts
    return causal_effects(
        generator, concepts, codes[:_EFFECT_PICTURES], score, pictures, stage(progress, 2 * len(codes), steps)
    )


@dataclass
class _Run:
    """The codes [N, L, D] in batches, and how far the work has come."""

    generator: GanGenerator
    codes: Tensor
    layer: int
    chunk: int
    progress: Progress
    done: int = 0

    def batches(self) -> list[slice]:
        """Return the slices of the pictures of each pass."""
        count = len(self.codes)
        return [slice(k, min(k + self.chunk, count)) for k in range(0, count, self.chunk)]

    def report(self, batch: slice, preview: Tensor | None = None) -> None:
        """Report a batch of pictures as done."""
        self.done += batch.stop - batch.start
        self.progress(self.done, 2 * len(self.codes), preview)

    def draw(self, batch: slice, stop_layer: int | None = None) -> SynthesisResult:
        """Draw a batch, with the features of the layer."""
        options = SynthesisOptions(want_features=(self.layer,), stop_layer=stop_layer, first_index=batch.start)
        return self.generator.network.synthesis(self.codes[batch].to(self.generator.device), options)

    def features(self, batch: slice) -> Tensor:
        """[b, C, h, w] of the layer, float32 on the CPU, without pictures."""
        return self.draw(batch, self.layer).features[self.layer].float().cpu()


@dataclass(frozen=True, eq=False)
class _Survey:
    """The result of the first pass: the distribution of every unit, and where concepts are in every picture."""

    size: tuple[int, int]  # height and width at which units and concepts are compared
    masks: Tensor  # [N, P, height, width] bool
    areas: Tensor  # [N, P], shares of the pictures
    inside: Tensor  # [P, C], means inside the concepts
    spread: Tensor  # [C], standard deviations
    levels: Tensor  # [C, T] ascending: the thresholds that are tried
    top: Tensor  # [C], 99 % quantiles
    features: list[Tensor]  # of the first batches, [b, C, h, w] on the CPU


def _survey(run: _Run, label: Label, concepts: int) -> _Survey:
    """Draw all pictures, label them, and gather the units' distributions."""
    _, height, width = run.generator.network.synthesis.layer_size(run.layer)
    scale = max(1, min(_COMPARED, run.generator.resolution[0]) // height)
    size = (height * scale, width * scale)
    count = max(1, min(_PICTURE_SAMPLES, _MAX_SAMPLES // len(run.codes)))
    moments = _Moments()
    samples, masks, areas, cache = [], [], [], []
    for batch in run.batches():
        result = run.draw(batch)
        features = result.features[run.layer].float()
        # No batch after a gap is kept: it is found again by its number, and the last one may be small enough to fit.
        if len(cache) == len(masks) and features.numel() * 4 * (len(cache) + 1) <= _CACHE_BYTES:
            cache.append(features.cpu())
        pictures = to_rgb(result.image)
        soft = _labels(label, pictures, batch, concepts).to(features)
        areas.append(soft.mean(dim=(2, 3)).cpu())
        masks.append((_resized(soft, size) > 0.5).cpu())
        moments.add(features, _resized(soft, features.shape[2:]))
        samples += [_sampled(values, picture, count) for picture, values in enumerate(features, batch.start)]
        run.report(batch, pictures[0] * 0.5 + 0.5)
    levels, top = _quantiles(samples)
    inside, spread = moments.finish()
    return _Survey(size, torch.cat(masks), torch.cat(areas), inside, spread, levels, top, cache)


def _labels(label: Label, pictures: Tensor, batch: slice, concepts: int) -> Tensor:
    """Return soft masks [b, P, h, w], checked."""
    soft = label(pictures, batch)
    if soft.ndim != 4 or soft.shape[:2] != (len(pictures), concepts):
        raise InputError(
            f"The part masks have shape {list(soft.shape)}; expected [{len(pictures)}, {concepts}, h, w]: one "
            "mask for each of the concepts in each of the pictures."
        )
    return soft


class _Moments:
    """Sums over all pictures: of units inside concepts, and of units and their squares everywhere."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0  # [P, C]
        self.weight: Tensor | float = 0.0  # [P]
        self.sum: Tensor | float = 0.0  # [C]
        self.square: Tensor | float = 0.0  # [C]
        self.pixels = 0

    def add(self, features: Tensor, masks: Tensor) -> None:
        """Add features [b, C, h, w] and the concepts' soft masks [b, P, h, w]."""
        self.total = self.total + einsum(features, masks, "b c h w, b p h w -> p c").cpu().double()
        self.weight = self.weight + masks.sum(dim=(0, 2, 3)).cpu().double()
        self.sum = self.sum + features.sum(dim=(0, 2, 3)).cpu().double()
        self.square = self.square + features.square().sum(dim=(0, 2, 3)).cpu().double()
        self.pixels += len(features) * features.shape[2] * features.shape[3]

    def finish(self) -> tuple[Tensor, Tensor]:
        """Return the means inside [P, C] and the standard deviations [C]."""
        inside = (self.total / self.weight[:, None].clamp(min=1e-6)).float().cpu()
        variance = self.square / self.pixels - (self.sum / self.pixels).square()
        return inside, variance.clamp(min=0).sqrt().float().cpu()


def _sampled(features: Tensor, picture: int, count: int) -> Tensor:
    """Draw pixels of a picture, [C, h, w] -> [C, count] in half precision on the CPU."""
    # A seed of its own: the quantiles do not depend on how the pictures are divided.
    rng = torch.Generator().manual_seed(picture)
    values = rearrange(features, "c h w -> c (h w)")
    index = torch.randint(values.shape[1], (count,), generator=rng)
    return values[:, index.to(values.device)].half().cpu()


def _quantiles(samples: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the levels [C, T] that ever fewer of the samples (N of [C, count]) exceed, and the 99 % quantiles [C]."""
    units, drawn = len(samples[0]), len(samples) * samples[0].shape[1]
    exceeded = torch.logspace(0, torch.tensor(_RAREST).log10().item(), _QUANTILES)
    index = ((1 - exceeded) * (drawn - 1)).round().long()
    levels, top = [], []
    for first in range(0, units, _UNITS_AT_ONCE):
        batch = slice(first, first + _UNITS_AT_ONCE)
        ordered = torch.cat([values[batch] for values in samples], dim=1).float().sort(dim=1).values
        levels.append(ordered[:, index])
        top.append(ordered[:, round(0.99 * (drawn - 1))])
    return torch.cat(levels).contiguous(), torch.cat(top)


def _compare(run: _Run, survey: _Survey) -> tuple[Tensor, Tensor]:
    """Compare thresholded units with concepts: the second pass.

    Returns:
        [2, P + 1, C, T + 1] counts of pixels per threshold bin for even and odd pictures (the last row counts all
        pixels), and [P, C] means outside: where the concept would be, on pictures without it.
    """
    concepts, units = survey.masks.shape[1], len(survey.levels)
    histogram = _Histogram(survey.levels, concepts)
    without = survey.areas <= ABSENT * torch.quantile(survey.areas, 0.99, dim=0)  # [N, P]
    # Elsewhere in the same picture serves where no picture is without the concept.
    counted = torch.where(without.any(dim=0), without.float(), 1.0)
    prior = survey.masks.sum(dim=0).float() / len(survey.masks)  # [P, height, width]
    total, weight = torch.zeros(concepts, units), torch.zeros(concepts)
    for number, batch in enumerate(run.batches()):
        features = survey.features[number] if number < len(survey.features) else run.features(batch)
        enlarged = F.interpolate(features, survey.size, mode="bilinear", align_corners=False)
        for values, picture in zip(enlarged, range(batch.start, batch.stop), strict=True):
            histogram.add(values, survey.masks[picture], half=picture % 2)
        region = torch.where(without[batch][:, :, None, None], prior, prior * ~survey.masks[batch])
        region = region * counted[batch][:, :, None, None]
        total += einsum(enlarged, region, "b c h w, b p h w -> p c")
        weight += reduce(region, "b p h w -> p", "sum")
        run.report(batch)
    return histogram.counts(), total / weight[:, None].clamp(min=1e-6)


class _Histogram:
    """Counts of pixels between thresholds, in each concept and in all pictures, for two halves of the pictures."""

    def __init__(self, levels: Tensor, concepts: int) -> None:
        self.levels = levels  # [C, T]
        self.units, self.bins = len(levels), levels.shape[1] + 1
        self._first_bin = (torch.arange(self.units) * self.bins)[:, None]
        self._counts = torch.zeros(2, concepts + 1, self.units * self.bins)

    def add(self, values: Tensor, masks: Tensor, half: int) -> None:
        """Count a picture's units [C, h, w] where its concepts are, [P, h, w] bool."""
        values, masks = rearrange(values, "c h w -> c (h w)"), rearrange(masks, "p h w -> p (h w)")
        bins = torch.searchsorted(self.levels, values.contiguous(), right=True) + self._first_bin
        self._counts[half, -1] += self._count(bins)
        for p, covered in enumerate(masks):
            if bool(covered.any()):
                self._counts[half, p] += self._count(bins[:, covered])

    def _count(self, bins: Tensor) -> Tensor:
        return torch.bincount(bins.flatten(), minlength=self.units * self.bins)

    def counts(self) -> Tensor:
        """[2, P + 1, C, T + 1]; the last of the rows counts all pixels."""
        return rearrange(self._counts, "half p (c t) -> half p c t", c=self.units)


def _scores(histogram: Tensor, levels: Tensor, threshold: str) -> tuple[Tensor, Tensor]:
    """Return IoU [P, C] on the odd pictures at the thresholds [P, C] chosen on the even ones."""
    above = histogram.flip(-1).cumsum(-1).flip(-1)[..., 1:].double()  # [2, P + 1, C, T]: pixels above each level
    pixels = histogram[:, -1, 0].sum(dim=-1).double()  # [2]
    covered = histogram[:, :-1, 0].sum(dim=-1).double()  # [2, P]
    joint, on = above[:, :-1], above[:, -1:]  # unit on in the concept, and anywhere
    if threshold == "information":
        quality = _information_quality(joint[0], on[0], covered[0], pixels[0])
        best = quality.argmax(dim=-1)  # [P, C]
    else:
        share = on[0, 0] / pixels[0]
        best = (share - 0.01).abs().argmin(dim=-1).expand(joint.shape[1], -1)
    index = best[..., None]
    intersection = joint[1].gather(-1, index)[..., 0]
    union = on[1].expand_as(joint[1]).gather(-1, index)[..., 0] + covered[1][:, None] - intersection
    thresholds = levels.expand(len(best), -1, -1).gather(-1, index)[..., 0]
    return (intersection / union.clamp(min=1)).float(), thresholds.clone()


def _information_quality(joint: Tensor, on: Tensor, covered: Tensor, pixels: Tensor) -> Tensor:
    """Compute I(concept; unit on) / H(concept, unit on) of every concept, unit and threshold, [P, C, T]."""
    a = joint / pixels
    b = (covered[:, None, None] - joint) / pixels  # the concept, unit off
    c = (on - joint) / pixels  # the unit on, elsewhere
    d = 1 - a - b - c

    def entropy(*shares: Tensor) -> Tensor:
        return -sum(torch.xlogy(share.clamp(min=0), share.clamp(min=0)) for share in shares)

    joint_entropy = entropy(a, b, c, d)
    mutual = entropy(a + b, c + d) + entropy(a + c, b + d) - joint_entropy
    return mutual / joint_entropy.clamp(min=1e-12)


def _resized(masks: Tensor, size: Sequence[int]) -> Tensor:
    """[b, P, h, w] -> [b, P, *size]."""
    if tuple(masks.shape[2:]) == tuple(size):
        return masks
    return F.interpolate(masks, tuple(size), mode="bilinear", antialias=True, align_corners=False)
