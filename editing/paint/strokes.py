"""Concepts and appearances as strokes: what Paint Concept and Copy Appearance add to a painting.

Two forms of a concept. "units" is GANPaint's (2005.07727): the concept's strongest units of one layer are set to
their 99 % quantile (or to their mean where the concept is), or to zero (or their mean where it is not). "donor" takes
the features inside the mask from the same picture with its code moved along the concept's step in W, on all layers
from a quarter of the picture's height on, so that no later layer can undo it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.colour_match import donor_features
from ...models.gan.crop_box import Window, marked
from ...models.gan.generator import GanGenerator
from ...models.gan.progan import ARCHITECTURE
from ...models.gan.synthesis_run import SynthesisOptions
from ..common.types import check_family
from .concepts import LEVELS, ConceptUnits
from .dissection import middle_layer
from .painting import DonorStroke, Painting, Stroke, UnitStroke, checked_mask, resized_mask
from .painting_hook import PaintingHook, features_within, mask_of, painting_hook

__all__ = ["ACTIONS", "APPEARANCES", "FORMS", "check_concepts", "copy_appearance", "donor_layers", "paint_concept"]

log = logging.getLogger(__name__)

ACTIONS = ("insert", "remove")
FORMS = ("donor", "units", "units, published")
APPEARANCES = ("statistics", "fine rows", "nearest cells", "channel means")
_SPREAD = 1e-3
_COMPARED = 2**25  # pairs of cells at once, 128 MiB


def paint_concept(
    generator: GanGenerator,
    concepts: ConceptUnits,
    concept: str,
    mask: Tensor,  # MASK [B or 1, h, w] or [h, w], any size
    action: str = "insert",
    level: str | float = "medium",  # low, medium, high: 4, 10, 15 units; or a number of units
    form: str = "donor",
    painting: Painting | None = None,  # what the stroke lies on
) -> Painting:
    """``painting`` with one more stroke.

    In the donor form a level of n units stands for 0.6 + 0.04 n of the way from pictures without the concept to
    pictures with it: 10 is the whole way.

    Raises InputError for another family, a concept that was not dissected, unknown choices, and empty masks.
    """
    for what, value, choices in (("action", action, ACTIONS), ("form", form, FORMS)):
        if value not in choices:
            raise InputError(f"Unknown {what} '{value}'; expected one of {', '.join(choices)}.")
    check_concepts(generator, concepts)
    count = _level(level)
    p = concepts.index(concept)
    name = f"{action} {concept}"
    if form == "donor":
        stroke: Stroke = _donor_stroke(generator, concepts, p, mask, action == "insert", 0.6 + 0.04 * count, name)
    else:
        stroke = _unit_stroke(concepts, p, mask, action == "insert", form, count, name)
    return _on(painting, stroke, generator)


def donor_layers(generator: GanGenerator) -> tuple[int, ...]:
    """The layers that a donor's features replace: from the last one of a quarter of the picture's height to the end."""
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(layer)[1] for layer in range(len(synthesis.layers))]
    first = max((layer for layer, height in enumerate(heights) if height * 4 <= heights[-1]), default=0)
    return tuple(range(first, len(heights)))


def copy_appearance(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D], the pictures that are painted
    mask: Tensor,  # MASK [B or 1, h, w]: where
    reference_codes: Tensor,  # [1 or B, L, D], the pictures that are copied from
    reference_mask: Tensor,  # MASK: what of them
    form: str = "statistics",
    layer: int | None = None,  # of the two forms that work on one layer's features; None: `middle_layer`
    painting: Painting | None = None,
) -> Painting:
    """``painting`` with strokes that give a region the look of a reference region.

    "channel means" is the paper's: every unit of one layer takes its mean over the reference region. "nearest cells"
    gives each place the features of the most similar place of the reference, compared after means and spreads are
    evened out. "statistics" works on all layers that a donor's features replace: each unit keeps its pattern and takes
    mean and spread from the reference region, and a ToRGB sees them as under the reference's own style, so that the
    region's mean colour becomes the reference's. "fine rows" takes the reference's rows of W+ for these layers.

    Raises InputError for codes that do not fit, empty masks and unknown forms.
    """
    if form not in APPEARANCES:
        raise InputError(f"Unknown form '{form}'; expected one of {', '.join(APPEARANCES)}.")
    generator.check_latent(codes, "", "The latent to paint")
    generator.check_latent(reference_codes, "", "The reference latent")
    if len(reference_codes) not in (1, len(codes)):
        raise InputError(
            f"There are {len(reference_codes)} reference pictures for {len(codes)}; connect one, or one each."
        )
    mask, reference_mask = checked_mask(mask), checked_mask(reference_mask)
    if len(mask) not in (1, len(codes)):
        raise InputError(f"There are {len(mask)} masks for {len(codes)} pictures; connect one, or one for each.")
    name = "copy appearance"
    codes = codes.to(generator.device)
    reference_codes = reference_codes.to(codes)
    if form == "fine rows":
        if generator.num_layers == 1:
            raise InputError(
                f"'{generator.name}' has one row of codes for all layers, so that 'fine rows' cannot tell look from "
                "shape. Choose another form."
            )
        layers = donor_layers(generator)
        rows = torch.zeros(generator.num_layers, 1).to(codes)
        rows[layers[0] :] = 1
        return _on(painting, DonorStroke(mask, layers, (reference_codes - codes) * rows, name=name), generator)
    reference_codes = _with_regions(reference_codes, reference_mask, len(codes))
    if form == "statistics":
        for stroke in _statistics(generator, codes, mask, reference_codes, reference_mask, painting, name):
            painting = _on(painting, stroke, generator)
        return painting
    layer = middle_layer(generator) if layer is None else layer
    hook = painting_hook(painting, generator, codes) if painting else None
    with torch.no_grad():
        target, reference = (
            generator.network.synthesis(
                each, SynthesisOptions(want_features=(layer,), stop_layer=layer, hook=way)
            ).features[layer]
            for each, way in ((codes, hook), (reference_codes, None))
        )
        values = _look(form, target, mask, reference, reference_mask)
    return _on(painting, UnitStroke(mask, layer, range(target.shape[1]), values, name), generator)


def _with_regions(reference_codes: Tensor, reference_mask: Tensor, count: int) -> Tensor:
    """The references, repeated where one of them has a region for each of ``count`` pictures.

    Raises InputError for another number of regions, and for one that is empty while others are not.
    """
    if len(reference_codes) == 1 and len(reference_mask) == count:
        reference_codes = reference_codes.expand(count, -1, -1)
    if len(reference_mask) not in (1, len(reference_codes)):
        raise InputError(
            f"There are {len(reference_mask)} reference masks for {len(reference_codes)} reference pictures; connect "
            "one, or one for each."
        )
    for k, most in enumerate(reference_mask.amax(dim=(1, 2)).tolist(), 1):
        if most < 0.5:
            raise InputError(f"Reference mask {k} is empty: nothing says what to copy. Mark the region in it.")
    return reference_codes


def check_concepts(generator: GanGenerator, concepts: ConceptUnits) -> None:
    """InputError unless the concepts are of the generator's family and describe a layer that it has."""
    check_family(concepts.family, generator.family, "The dissection", f"the generator '{generator.name}'")
    count = len(generator.network.synthesis.layers)
    units = generator.network.synthesis.layer_size(concepts.layer)[0] if concepts.layer < count else 0
    if units != concepts.num_units:
        raise InputError(
            f"The concepts describe {concepts.num_units} units of layer {concepts.layer}; '{generator.name}' has "
            f"{units} there. Dissect this generator."
        )


def _level(level: str | float) -> float:
    if isinstance(level, str):
        if level not in LEVELS:
            raise InputError(f"Unknown level '{level}'; expected {', '.join(LEVELS)} or a number of units.")
        return float(LEVELS[level])
    if not 0 < level <= 1000:
        raise InputError(f"The level is {level}; expected a number of units above 0, such as 10.")
    return float(level)


def _donor_stroke(generator, concepts, p: int, mask: Tensor, insert: bool, way: float, name: str) -> DonorStroke:
    if concepts.steps is None or not bool(concepts.steps[p].any()):
        raise InputError(
            f"The concept '{concepts.names[p]}' comes without a step in W; choose the form 'units', or dissect again."
        )
    absent, present = (float(level) for level in concepts.levels[p])
    begin, end = (absent, present) if insert else (present, absent)
    step = concepts.steps[p] if insert else -concepts.steps[p]
    target = begin + way * (end - begin)
    return DonorStroke(mask, donor_layers(generator), step, concepts.normals[p], target, name, not insert)


def _unit_stroke(concepts, p: int, mask: Tensor, insert: bool, form: str, count: float, name: str) -> UnitStroke:
    units = list(concepts.ranked(concepts.names[p], max(1, round(count))))
    if form == "units, published":
        values = concepts.top[units] if insert else torch.zeros(len(units))
    else:
        values = (concepts.inside if insert else concepts.outside)[p, units]
    return UnitStroke(mask, concepts.layer, units, values, name, not insert)


def _on(painting: Painting | None, stroke: Stroke, generator: GanGenerator) -> Painting:
    painting = painting or Painting(family=generator.family)
    check_family(painting.family, generator.family, "The painting", f"the generator '{generator.name}'")
    size, wanted = tuple(stroke.mask.shape[1:]), generator.resolution
    if size != wanted:
        log.info("The mask of '%s' is %s x %s; it is resized to the generator's %s x %s.",
                 stroke.name, size[1], size[0], wanted[1], wanted[0])  # fmt: skip
    return painting.plus(stroke)


def _look(form: str, target: Tensor, mask: Tensor, reference: Tensor, reference_mask: Tensor) -> Tensor:
    """[B, C] or [B, C, h, w]: what the units take inside the mask."""
    weight = resized_mask(mask, *target.shape[2:]).to(target)
    reference_weight = resized_mask(reference_mask, *reference.shape[2:]).to(reference)
    mean, spread = _moments(reference, reference_weight)
    if form == "channel means":
        return mean.flatten(1)
    evened = _evened(target, weight)
    return _nearest(evened, weight, reference, (reference - mean) / spread, reference_weight)


def _statistics(generator, codes, mask, reference_codes, reference_mask, painting, name) -> list[UnitStroke]:
    """A stroke for each layer from `donor_layers` on, of the part of the picture that its mask needs."""
    layers = donor_layers(generator)
    hook = painting_hook(painting, generator, codes) if painting else None
    synthesis = generator.network.synthesis
    with torch.no_grad():
        own = _region(generator, codes, mask, layers, hook)
        other = _region(generator, reference_codes, reference_mask, layers, None)
        matched = {layer: _matched(own.features[layer], other.features[layer], own, other) for layer in layers}
        if generator.network.config.architecture != ARCHITECTURE:
            recoloured = None if own.image is None else _matched(own.image, other.image, own, other)
            style = reference_codes.expand(len(codes), -1, -1)
            matched = donor_features(synthesis, codes, style, matched, own.image, recoloured)
    return [
        UnitStroke(mask, layer, range(x.shape[1]), x, name, window=own.window) for layer, x in sorted(matched.items())
    ]


@dataclass(frozen=True, eq=False)
class _Region:
    """A picture as far as a mask needs it: features by layer, the picture before the first of them, and the part."""

    features: dict[int, Tensor]
    image: Tensor | None
    mask: Tensor
    window: Window | None

    def weight(self, x: Tensor) -> Tensor:
        """The mask at the size of features or of a picture."""
        return mask_of(self.mask, x, self.window)


def _region(
    generator: GanGenerator, codes: Tensor, mask: Tensor, layers: tuple[int, ...], hook: PaintingHook | None
) -> _Region:
    features, begun = features_within(generator, codes, mask, layers, hook=hook)
    return _Region(features, begun.image, mask, begun.window)


def _matched(target: Tensor, reference: Tensor, own: _Region, other: _Region) -> Tensor:
    mean, spread = _moments(reference, other.weight(reference))
    return _evened(target, own.weight(target)) * spread + mean


def _evened(x: Tensor, weight: Tensor) -> Tensor:
    mean, spread = _moments(x, weight)
    return (x - mean) / spread


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [B, C, 1, 1] over a region."""
    total = weight.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    mean = (x * weight).sum(dim=(2, 3), keepdim=True) / total
    spread = ((x - mean).square() * weight).sum(dim=(2, 3), keepdim=True) / total
    return mean, spread.sqrt().clamp(min=_SPREAD)


def _nearest(evened: Tensor, own_weight: Tensor, reference: Tensor, reference_evened: Tensor, weight: Tensor) -> Tensor:
    """Each cell's most similar cell of the reference region, by the cosine of 3 x 3 neighbourhoods; 0 outside."""
    found = torch.zeros_like(evened)
    for k in range(len(evened)):
        r = min(k, len(reference) - 1)
        covered = weight[min(r, len(weight) - 1)].flatten()
        region, inside = covered > 0.25 * covered.max(), own_weight[min(k, len(own_weight) - 1)].flatten() > 0
        there = _neighbourhoods(reference_evened[r], region)
        cells = _neighbourhoods(evened[k], inside).t().split(max(1, _COMPARED // there.shape[1]))
        best = torch.cat([(some @ there).argmax(dim=1) for some in cells])
        found[k].flatten(1)[:, inside] = reference[r].flatten(1)[:, region][:, best]
    return found


def _neighbourhoods(x: Tensor, cells: Tensor) -> Tensor:
    """[C, h, w], which of its h w cells -> [9 C, n]: their 3 x 3 neighbourhoods, each of length 1."""
    cells = cells.view(1, 1, *x.shape[1:])
    part = marked(cells).grown(1)
    return F.normalize(F.unfold(part.of(x[None]), 3, padding=1)[0][:, part.of(cells).flatten()], dim=0)
