"""Strokes from concepts (GANPaint, 2005.07727) and from the appearance of a reference region.

Two forms of a concept. "units" is GANPaint's: the concept's strongest units of one layer are set to
their 99 % quantile (or to their mean where the concept is), or to zero (or their mean where it is not). "donor" takes
the features inside the mask from the same picture with its code moved along the concept's step in W, on all layers
from a quarter of the picture's height on, so that no later layer can undo it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.colour_match import donor_features
from ...models.gan.crop_box import CropBox, bounding_box
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import resized_mask
from ...models.gan.progan import ARCHITECTURE
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.printable import printable_logger
from ..common.types import check_family
from .concepts import LEVELS, ConceptUnits
from .dissection import middle_layer
from .painting import DonorStroke, Painting, Stroke, UnitStroke, check_paintable, checked_mask
from .painting_hook import PaintingHook, features_within, mask_at, painting_hook

__all__ = ["ACTIONS", "APPEARANCES", "FORMS", "check_concepts", "copy_appearance", "donor_layers", "paint_concept"]

log = printable_logger(__name__)

ACTIONS = ("insert", "remove")
FORMS = ("donor", "units", "units, published")
APPEARANCES = ("statistics", "fine rows", "nearest cells", "channel means")
_MIN_SPREAD = 1e-3  # of a unit over a region
_COMPARED_PAIRS = 2**25  # of cells at once, 128 MiB
_APPEARANCE = "copy appearance"  # the name of strokes, for people
_COVERED = 0.25  # of a mask's largest value: from here a cell belongs to the reference region


def paint_concept(
    generator: GanGenerator,
    concepts: ConceptUnits,
    concept: str,
    mask: Tensor,
    action: str = "insert",
    level: str | float = "medium",
    form: str = "donor",
    painting: Painting | None = None,
) -> Painting:
    """Add a stroke that inserts or removes a concept.

    In the donor form a level of n units stands for 0.6 + 0.04 n of the way from pictures without the concept to
    pictures with it: 10 is the whole way.

    Args:
        generator: that will draw the painting.
        concepts: the dissection of one of its layers.
        concept: a name in it.
        mask: MASK [B or 1, h, w] or [h, w] in 0..1, any size.
        action: one of `ACTIONS`.
        level: low, medium or high (4, 10, 15 units), or a number of units.
        form: one of `FORMS`.
        painting: what the stroke lies on.

    Raises:
        InputError: another family, a concept that was not dissected, an unknown choice, or an empty mask.
    """
    check_choice("action", action, ACTIONS)
    check_choice("form", form, FORMS)
    check_concepts(generator, concepts)
    count = _level(level)
    p = concepts.index(concept)
    name = f"{action} {concept}"
    if form == "donor":
        stroke: Stroke = _donor_stroke(generator, concepts, p, mask, action == "insert", 0.6 + 0.04 * count, name)
    else:
        stroke = _unit_stroke(concepts, p, mask, action == "insert", form, count, name)
    return _with_stroke(painting, stroke, generator)


def donor_layers(generator: GanGenerator) -> tuple[int, ...]:
    """Return the layers that a donor's features replace, from the last of a quarter of the picture's height on."""
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(layer)[1] for layer in range(len(synthesis.layers))]
    first = max((layer for layer, height in enumerate(heights) if height * 4 <= heights[-1]), default=0)
    return tuple(range(first, len(heights)))


def copy_appearance(
    generator: GanGenerator,
    codes: Tensor,
    mask: Tensor,
    reference_codes: Tensor,
    reference_mask: Tensor,
    form: str = "statistics",
    layer: int | None = None,
    painting: Painting | None = None,
) -> Painting:
    """Add strokes that give a region the look of a reference region.

    "channel means" is the paper's: every unit of one layer takes its mean over the reference region. "nearest cells"
    gives each cell the features of the most similar cell of the reference, compared after means and spreads are evened
    out. "statistics" works on all layers that a donor's features replace: each unit keeps its pattern and takes mean
    and spread from the reference region, and a ToRGB sees them as under the reference's own style, so that the region's
    mean colour becomes the reference's. "fine rows" takes the reference's rows of W+ for these layers.

    Args:
        generator: that will draw the painting.
        codes: [B, L, D], the pictures that are painted.
        mask: MASK [B or 1, h, w] in 0..1, where.
        reference_codes: [1 or B, L, D], the pictures that are copied from.
        reference_mask: MASK [B or 1, h, w] in 0..1, the region of them.
        form: one of `APPEARANCES`.
        layer: of the two forms that work on one layer's features; None: `middle_layer`.
        painting: what the strokes lie on.

    Raises:
        InputError: codes that do not fit, an empty mask, or an unknown form.
    """
    check_choice("form", form, APPEARANCES)
    _check_pictures(generator, codes, reference_codes)
    mask, reference_mask = checked_mask(mask), checked_mask(reference_mask)
    if len(mask) not in (1, len(codes)):
        raise InputError(f"There are {len(mask)} masks for {len(codes)} pictures; connect one, or one for each.")
    codes = codes.to(generator.device)
    reference_codes = reference_codes.to(codes)
    if form == "fine rows":
        return _with_stroke(painting, _fine_rows_stroke(generator, codes, mask, reference_codes), generator)
    reference_codes = _with_regions(reference_codes, reference_mask, len(codes))
    if form == "statistics":
        for stroke in _statistics_strokes(generator, codes, mask, reference_codes, reference_mask, painting):
            painting = _with_stroke(painting, stroke, generator)
        return painting
    layer = middle_layer(generator) if layer is None else layer
    hook = painting_hook(painting, generator, codes) if painting else None
    with torch.no_grad():
        target = _layer_features(generator, codes, layer, hook)
        reference = _layer_features(generator, reference_codes, layer, None)
        values = _reference_values(form, target, mask, reference, reference_mask)
    stroke = UnitStroke(mask, layer, range(target.shape[1]), values, _APPEARANCE)
    return _with_stroke(painting, stroke, generator)


def _check_pictures(generator: GanGenerator, codes: Tensor, reference_codes: Tensor) -> None:
    """Raise InputError for a generator that cannot be painted on, codes of another, and the number of references."""
    check_paintable(generator)
    generator.check_latent(codes, "", "The latent to paint")
    generator.check_latent(reference_codes, "", "The reference latent")
    if len(reference_codes) not in (1, len(codes)):
        raise InputError(
            f"There are {len(reference_codes)} reference pictures for {len(codes)}; connect one, or one each."
        )


def _fine_rows_stroke(generator: GanGenerator, codes: Tensor, mask: Tensor, reference_codes: Tensor) -> DonorStroke:
    """Return a stroke whose donor has the reference's rows of W+ for the layers that it replaces."""
    if generator.num_layers == 1:
        raise InputError(
            f"'{generator.name}' has one row of codes for all layers, so that 'fine rows' cannot tell look from "
            "shape. Choose another form."
        )
    layers = donor_layers(generator)
    rows = torch.zeros(generator.num_layers, 1).to(codes)
    rows[layers[0] :] = 1
    return DonorStroke(mask, layers, (reference_codes - codes) * rows, name=_APPEARANCE)


def _layer_features(generator: GanGenerator, codes: Tensor, layer: int, hook: PaintingHook | None) -> Tensor:
    """Return the features of a layer, [B, L, D] -> [B, C, h, w]."""
    return generator.network.synthesis(codes, SynthesisOptions(stop_layer=layer, hook=hook)).state.features


def _with_regions(reference_codes: Tensor, reference_mask: Tensor, count: int) -> Tensor:
    """Repeat a reference that has a region for each of ``count`` pictures, [1 or B, L, D] -> [1 or B, L, D].

    Raises:
        InputError: another number of regions, or one that is empty while others are not.
    """
    if len(reference_codes) == 1 and len(reference_mask) == count:
        reference_codes = reference_codes.expand(count, -1, -1)
    if len(reference_mask) not in (1, len(reference_codes)):
        raise InputError(
            f"There are {len(reference_mask)} reference masks for {len(reference_codes)} reference pictures; connect "
            "one, or one for each."
        )
    for k, peak in enumerate(reference_mask.amax(dim=(1, 2)).tolist(), 1):
        if peak < 0.5:
            raise InputError(f"Reference mask {k} is empty: nothing says what to copy. Mark the region in it.")
    return reference_codes


def check_concepts(generator: GanGenerator, concepts: ConceptUnits) -> None:
    """Check that concepts belong to a generator.

    Raises:
        InputError: another family, a layer that the generator does not have, or a StyleGAN3.
    """
    check_paintable(generator)
    check_family(concepts.family, generator.family, "The dissection", f"the generator '{generator.name}'")
    count = len(generator.network.synthesis.layers)
    units = generator.network.synthesis.layer_size(concepts.layer)[0] if concepts.layer < count else 0
    if units != concepts.num_units:
        raise InputError(
            f"The concepts describe {concepts.num_units} units of layer {concepts.layer}; '{generator.name}' has "
            f"{units} there. Dissect this generator."
        )


def _level(level: str | float) -> float:
    """Return the number of units that a level stands for."""
    if isinstance(level, str):
        if level not in LEVELS:
            raise InputError(f"Unknown level '{level}'; expected {', '.join(LEVELS)} or a number of units.")
        return float(LEVELS[level])
    if not 0 < level <= 1000:
        raise InputError(f"The level is {level}; expected a number of units above 0, such as 10.")
    return float(level)


def _donor_stroke(generator, concepts, p: int, mask: Tensor, insert: bool, amount: float, name: str) -> DonorStroke:
    """Return the stroke of concept ``p`` by ``amount`` of its step in W."""
    if concepts.steps is None or not bool(concepts.steps[p].any()):
        raise InputError(
            f"The concept '{concepts.names[p]}' comes without a step in W; choose the form 'units', or dissect again."
        )
    absent, present = (float(level) for level in concepts.levels[p])
    start, end = (absent, present) if insert else (present, absent)
    step = concepts.steps[p] if insert else -concepts.steps[p]
    target = start + amount * (end - start)
    return DonorStroke(mask, donor_layers(generator), step, concepts.normals[p], target, name, not insert)


def _unit_stroke(concepts, p: int, mask: Tensor, insert: bool, form: str, count: float, name: str) -> UnitStroke:
    """Return the stroke of concept ``p`` by its ``count`` strongest units."""
    units = list(concepts.ranked(concepts.names[p], max(1, round(count))))
    if form == "units, published":
        values = concepts.top[units] if insert else torch.zeros(len(units))
    else:
        values = (concepts.inside if insert else concepts.outside)[p, units]
    return UnitStroke(mask, concepts.layer, units, values, name, not insert)


def _with_stroke(painting: Painting | None, stroke: Stroke, generator: GanGenerator) -> Painting:
    """Return the painting with one more stroke on top; a mask of another size than the generator's is noted."""
    painting = painting or Painting(family=generator.family)
    check_family(painting.family, generator.family, "The painting", f"the generator '{generator.name}'")
    size, expected = tuple(stroke.mask.shape[1:]), generator.resolution
    if size != expected:
        log.info("The mask of '%s' is %s x %s; it is resized to the generator's %s x %s.",
                 stroke.name, size[1], size[0], expected[1], expected[0])  # fmt: skip
    return painting.plus(stroke)


def _reference_values(form: str, target: Tensor, mask: Tensor, reference: Tensor, reference_mask: Tensor) -> Tensor:
    """Return the values of units inside a mask, [B, C] or [B, C, h, w], from features [B, C, h, w] of the reference."""
    weight = resized_mask(mask[:, None], target.shape[2:]).to(target)
    reference_weight = resized_mask(reference_mask[:, None], reference.shape[2:]).to(reference)
    mean, spread = _moments(reference, reference_weight)
    if form == "channel means":
        return rearrange(mean, "b c 1 1 -> b c")
    return _nearest_cells(
        standardized(target, weight), weight, reference, (reference - mean) / spread, reference_weight
    )


def _statistics_strokes(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    mask: Tensor,  # [B or 1, h, w]
    reference_codes: Tensor,  # [1 or B, L, D]
    reference_mask: Tensor,  # [B or 1, h, w]
    painting: Painting | None,
) -> list[UnitStroke]:
    """Return a stroke for each layer from `donor_layers` on, of the part of the picture that its mask needs."""
    layers = donor_layers(generator)
    hook = painting_hook(painting, generator, codes) if painting else None
    synthesis = generator.network.synthesis
    with torch.no_grad():
        target = _region(generator, codes, mask, layers, hook)
        reference = _region(generator, reference_codes, reference_mask, layers, None)
        matched = {
            layer: _matched(target.features[layer], reference.features[layer], target, reference) for layer in layers
        }
        if generator.network.config.architecture != ARCHITECTURE:
            image = None if target.image is None else _matched(target.image, reference.image, target, reference)
            style = reference_codes.expand(len(codes), -1, -1)
            matched = donor_features(synthesis, codes, style, matched, target.image, image)
    return [
        UnitStroke(mask, layer, range(x.shape[1]), x, _APPEARANCE, box=target.box)
        for layer, x in sorted(matched.items())
    ]


@dataclass(frozen=True, eq=False)
class _Region:
    """A picture as far as a mask needs it: features by layer, the picture before the first of them, and the part."""

    features: dict[int, Tensor]  # layer -> [B, C, h, w]
    image: Tensor | None  # [B, 3, h, w]
    mask: Tensor  # [B or 1, H, W]
    box: CropBox | None

    def weight(self, x: Tensor) -> Tensor:
        """Return the mask at the size of features or of a picture, [B or 1, 1, h, w]."""
        return mask_at(self.mask, x, self.box)


def _region(
    generator: GanGenerator, codes: Tensor, mask: Tensor, layers: tuple[int, ...], hook: PaintingHook | None
) -> _Region:
    """Draw codes [B, L, D] inside a mask [B or 1, h, w]."""
    features, state = features_within(generator, codes, mask, layers, hook=hook)
    return _Region(features, state.image, mask, state.box)


def _matched(x: Tensor, reference: Tensor, region: _Region, reference_region: _Region) -> Tensor:
    """Return x [B, C, h, w] with the mean and spread of a reference region."""
    mean, spread = _moments(reference, reference_region.weight(reference))
    return standardized(x, region.weight(x)) * spread + mean


def standardized(x: Tensor, weight: Tensor) -> Tensor:
    """Bring channels to mean 0 and standard deviation 1 over a region.

    Args:
        x: [B, C, h, w].
        weight: [B or 1, 1, h, w], of the region.

    Returns:
        [B, C, h, w].
    """
    mean, spread = _moments(x, weight)
    return (x - mean) / spread


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [B, C, 1, 1] over a region."""
    total = weight.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    mean = (x * weight).sum(dim=(2, 3), keepdim=True) / total
    variance = ((x - mean).square() * weight).sum(dim=(2, 3), keepdim=True) / total
    return mean, variance.sqrt().clamp(min=_MIN_SPREAD)


def _nearest_cells(
    standard: Tensor,  # [B, C, h, w], standardized over the region
    weight: Tensor,  # [B or 1, 1, h, w], of the region
    reference: Tensor,  # [1 or B, C, h, w]
    reference_standard: Tensor,
    reference_weight: Tensor,
) -> Tensor:
    """Give each cell the features of the reference region's most similar cell, by the cosine of 3 x 3 neighbourhoods.

    [B, C, h, w], 0 outside of the region.
    """
    values = torch.zeros_like(standard)
    for k in range(len(standard)):
        r = min(k, len(reference) - 1)
        coverage = reference_weight[min(r, len(reference_weight) - 1)].flatten()
        candidates = coverage > _COVERED * coverage.max()
        inside = weight[min(k, len(weight) - 1)].flatten() > 0
        reference_patches = _neighbourhoods(reference_standard[r], candidates)
        patches = _neighbourhoods(standard[k], inside).t()
        batches = patches.split(max(1, _COMPARED_PAIRS // reference_patches.shape[1]))
        nearest = torch.cat([(batch @ reference_patches).argmax(dim=1) for batch in batches])
        values[k].flatten(1)[:, inside] = reference[r].flatten(1)[:, candidates][:, nearest]
    return values


def _neighbourhoods(x: Tensor, cells: Tensor) -> Tensor:
    """Unfold the 3 x 3 neighbourhoods of some cells, each of length 1: [C, h, w], [h w] bool -> [9 C, n]."""
    cells = rearrange(cells, "(h w) -> 1 1 h w", h=x.shape[1])
    box = bounding_box(cells).expand(1)
    patches = F.unfold(box.crop(x[None]), 3, padding=1)[0]
    return F.normalize(patches[:, box.crop(cells).flatten()], dim=0)
