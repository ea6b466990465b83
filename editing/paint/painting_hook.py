"""The synthesis hook of a painting: its strokes on the way from layer to layer, of the full picture or of a crop.

A donor's features are needed inside its stroke's mask alone, so no more than that region of them is made, and its
surroundings as far as they affect it (models/gan/crop_box.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels import blend_features
from ...models.errors import InputError
from ...models.gan.colour_match import donor_features
from ...models.gan.crop_box import CropBox, crop
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import resized_mask
from ...models.gan.progan import ARCHITECTURE
from ...models.gan.synthesis_run import LayerState, SynthesisOptions
from ...models.inference import clone_from_inference
from .painted_region import best_crop, crop_state
from .painting import DonorStroke, Painting, Stroke, UnitStroke, mask_boxes, painting_mask

__all__ = ["DonorFeatures", "PaintingHook", "features_within", "mask_at", "painting_hook"]

Painter = Callable[[Tensor, CropBox | None], Tensor]  # (features, the part of the picture they are) -> features
Slices = tuple  # of rows and columns of features, for indexing


@dataclass(frozen=True, eq=False)
class DonorFeatures:
    """The features that a stroke takes from its donor: layer -> [B, C, h, w], of a box, or of the full picture."""

    features: Mapping[int, Tensor]
    box: CropBox | None = None


class PaintingHook:
    """A `SynthesisHook` that paints on features [B, C, h, w].

    ``mask`` [B or 1, 1, H, W] says where: an adapted generator leaves the photo's details out there. None while donors
    are made, which have the details that their pictures have.
    """

    def __init__(self, mask: Tensor | None = None) -> None:
        self.mask = mask
        self.box: CropBox | None = None
        self.painters: dict[int, list[Painter]] = {}

    @property
    def layers(self) -> Collection[int]:
        """The layers that are painted on."""
        return self.painters.keys()

    def __call__(self, layer: int, features: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        for paint in self.painters.get(layer, ()):
            features = paint(features, self.box)
        return features

    def add(self, layer: int, painter: Painter) -> None:
        """Paint on a layer, over what is painted there already."""
        self.painters.setdefault(layer, []).append(painter)

    def cropped(self, box: CropBox | None) -> PaintingHook:
        """Return the same for a run that draws a part of the picture (None: all of it); strokes are shared."""
        hook = PaintingHook(self.mask)
        hook.box, hook.painters = box, self.painters
        return hook


def painting_hook(
    painting: Painting,
    generator: GanGenerator,
    codes: Tensor | None = None,
    noise: str | int = "constant",
    state: LayerState | None = None,
    cache: dict[tuple, DonorFeatures] | None = None,
) -> PaintingHook:
    """Make the hook by which a synthesis draws a painting.

    Args:
        painting: its strokes; they are checked against the generator here, before any work.
        generator: the generator that will draw.
        codes: [B, L, D], what will be drawn; needed for donor strokes, whose features are made here (a partial
            synthesis each, up to the last layer that the stroke paints on, with the strokes below it; only as much of
            the picture as the stroke needs).
        noise: the noise of the picture that will be drawn; donors have the same.
        state: of a synthesis of the codes before the first painted layer, if that is known already.
        cache: donors' features by the strokes up to theirs; read, and added to. For the same generator and codes only.

    Raises:
        InputError: another family, a layer or unit that the generator does not have, another number of pictures.
    """
    _check_painting(painting, generator, codes)
    hook = PaintingHook()
    cache = {} if cache is None else cache
    for k, stroke in enumerate(painting.strokes):
        if isinstance(stroke, UnitStroke):
            hook.add(stroke.layer, _unit_painter(stroke))
            continue
        strokes = painting.strokes[: k + 1]
        if strokes not in cache:
            below = hook if hook.painters else None
            cache[strokes] = _donor(stroke, generator, codes.to(generator.device), noise, below, state)
        donor = cache[strokes]
        for layer, features in donor.features.items():
            hook.add(layer, _donor_painter(stroke, features, donor.box))
    # Not before: what a donor is must not depend on the strokes that come after its own.
    hook.mask = painting_mask(painting, *generator.resolution).to(generator.device)
    return hook


class AutogradSafe:
    """A tensor of another node to paint with: made under inference mode, it becomes a normal one where a graph is made.

    That happens once, not in every step; most paintings are drawn without a graph.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def get(self) -> Tensor:
        """Return the tensor, fit for the present mode."""
        if torch.is_grad_enabled():
            self._tensor = clone_from_inference(self._tensor)
        return self._tensor


def _unit_painter(stroke: UnitStroke) -> Painter:
    """Return f -> (1 - m) f + m v on the stroke's channels."""
    stroke_mask, stroke_values, units = AutogradSafe(stroke.mask), AutogradSafe(stroke.values), list(stroke.units)

    def paint(x: Tensor, box: CropBox | None) -> Tensor:
        mask, values = mask_at(stroke_mask.get(), x, box), stroke_values.get().to(x)
        area: Slices = (...,)
        if values.ndim == 2:
            values = values[:, :, None, None]
        elif stroke.box is None:
            values = crop(_resized_values(values, _full_size(x, box)), box)
        else:
            slices = _overlap(x, box, stroke.box)
            if slices is None:
                return x
            area, values = slices[0], values[slices[1]]
        painted = x.clone()
        unpainted, mask = x[area][:, units], mask[area]
        values, mask = values.expand(len(x), -1, *unpainted.shape[2:]), mask.expand(len(x), -1, -1, -1)
        painted[area][:, units] = torch.lerp(unpainted, values, mask)
        return painted

    return paint


def _resized_values(values: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, K, h, w] -> [B, K, *size]."""
    if tuple(values.shape[2:]) == size:
        return values
    return F.interpolate(values, size, mode="bilinear", antialias=True, align_corners=False)


def _donor(
    stroke: DonorStroke,
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    noise: str | int,
    hook: PaintingHook | None,  # the strokes below
    state: LayerState | None,
) -> DonorFeatures:
    """Make the features of a stroke's donor, with the colours that they have under the donor's own code."""
    synthesis = generator.network.synthesis
    donor_codes = codes + stroke.offset(codes)
    first = stroke.layers[0]
    features, donor_state = features_within(generator, donor_codes, stroke.mask, stroke.layers, noise, hook)
    if generator.network.config.architecture == ARCHITECTURE:  # a Progressive GAN: no styles, nothing to match
        return DonorFeatures(features, donor_state.box)
    # Between the two convolutions of a block the picture so far is the same.
    if state is None or state.layer != first - 1 or synthesis.layers[first][1] != "conv1":
        state = synthesis(codes, SynthesisOptions(noise=noise, stop_layer=first, hook=hook)).state
    image = None if state.image is None else crop(state.image, donor_state.box)
    matched = donor_features(synthesis, codes, donor_codes, features, image, donor_state.image)
    return DonorFeatures(matched, donor_state.box)


def features_within(
    generator: GanGenerator,
    codes: Tensor,
    mask: Tensor,
    layers: Sequence[int],
    noise: str | int = "constant",
    hook: PaintingHook | None = None,
) -> tuple[dict[int, Tensor], LayerState]:
    """Draw the features of some layers, of no more of the picture than is needed inside a mask.

    Args:
        generator: plain or adapted.
        codes: [B, L, D].
        mask: [B or 1, h, w] in 0..1, any size.
        layers: ascending.
        noise: of the run.
        hook: strokes that lie below.

    Returns:
        layer -> [B, C, h, w], and the state after the first of them, whose box says which part they are.
    """
    synthesis, (first, *later) = generator.network.synthesis, layers
    # Where an adaptation's details have gone is found in its guide layer's full features, with the strokes below.
    adaptation = generator.adaptation
    guide = 0 if adaptation is None or adaptation.guide is None else adaptation.guide
    layer, box = best_crop(synthesis, mask_boxes(mask, layers, generator), first, guide) or (first, None)
    state = synthesis(codes, SynthesisOptions(noise=noise, stop_layer=layer, hook=hook)).state
    state = crop_state(state, box)
    hook = None if hook is None else hook.cropped(box)
    if layer < first:
        state = synthesis(codes, SynthesisOptions(noise=noise, stop_layer=first, resume=state, hook=hook)).state
    features = {first: state.features}
    if later:
        options = SynthesisOptions(noise=noise, want_features=later, stop_layer=later[-1], resume=state, hook=hook)
        features.update(synthesis(codes, options).features)
    return features, state


def _donor_painter(stroke: DonorStroke, features: Tensor, donor_box: CropBox | None) -> Painter:
    """Return f -> (1 - m) f + m d, with the donor's features d [B, C, h, w] of a box."""
    stroke_mask, donor = AutogradSafe(stroke.mask), AutogradSafe(features)

    def paint(x: Tensor, box: CropBox | None) -> Tensor:
        mask, values = mask_at(stroke_mask.get(), x, box), donor.get().to(x)
        if donor_box == box:
            return blend_features(x, values, mask)
        slices = _overlap(x, box, donor_box)
        if slices is None:
            return x
        area, donor_area = slices
        painted = x.clone()
        painted[area] = blend_features(x[area], values[donor_area], mask[area])
        return painted

    return paint


def _overlap(x: Tensor, box: CropBox | None, stroke_box: CropBox | None) -> tuple[Slices, Slices] | None:
    """Return the slices of features x of a box, and of a stroke's of its own box, at which both are known.

    None where they have nothing in common; beyond its own box a stroke's mask is zero.
    """
    height, width = _full_size(x, box)
    edges = [(0, height, 0, width) if b is None else b.edges(height, width) for b in (box, stroke_box)]
    tops, bottoms, lefts, rights = zip(*edges, strict=True)
    top, bottom, left, right = max(tops), min(bottoms), max(lefts), min(rights)
    if top >= bottom or left >= right:
        return None
    return tuple(
        (..., slice(top - own_top, bottom - own_top), slice(left - own_left, right - own_left))
        for own_top, own_left in zip(tops, lefts, strict=True)
    )


def _full_size(x: Tensor, box: CropBox | None) -> tuple[int, int]:
    """Return height and width of the layer that features x are a box of."""
    return tuple(x.shape[2:]) if box is None else box.full_size(*x.shape[2:])


def mask_at(mask: Tensor, x: Tensor, box: CropBox | None) -> Tensor:
    """Resize a mask to features, and crop it as they are.

    Args:
        mask: [B or 1, h, w] in 0..1, of the full picture, any size.
        x: [B, C, h, w], features of the box.
        box: None: of the full picture.

    Returns:
        [B or 1, 1, h, w].
    """
    return crop(resized_mask(mask[:, None], _full_size(x, box)).to(x), box)


def _check_painting(painting: Painting, generator: GanGenerator, codes: Tensor | None) -> None:
    """Raise InputError for a painting that the generator cannot draw, or not on these codes."""
    if painting.family and painting.family != generator.family:
        raise InputError(
            f"The painting was made for the generator family '{painting.family}', but '{generator.name}' is of the "
            f"family '{generator.family}'. Paint with concepts of this generator."
        )
    for stroke in painting.strokes:
        if isinstance(stroke, UnitStroke):
            _check_units(stroke, generator)
        else:
            _check_layers(stroke, generator)
            _check_step(stroke, generator, codes)
        if codes is not None:
            _check_batch(stroke, len(codes))


def _check_layers(stroke: Stroke, generator: GanGenerator) -> None:
    """Raise InputError for layers that the generator does not have."""
    for layer in stroke.layers:
        generator.network.synthesis.layer_size(layer)


def _check_units(stroke: UnitStroke, generator: GanGenerator) -> None:
    """Raise InputError for units that the layer does not have."""
    channels = generator.network.synthesis.layer_size(stroke.layer)[0]
    if max(stroke.units) >= channels:
        raise InputError(
            f"The stroke '{stroke.name}' paints unit {max(stroke.units)}; layer {stroke.layer} has units 0 to "
            f"{channels - 1}."
        )


def _check_step(stroke: DonorStroke, generator: GanGenerator, codes: Tensor | None) -> None:
    """Raise InputError where codes are unknown, or of another shape than the step."""
    if codes is None:
        raise InputError(
            f"The stroke '{stroke.name}' moves the codes of the pictures; it can only be drawn where they are known."
        )
    if stroke.step.shape[1] not in (1, generator.num_layers) or stroke.step.shape[2] != generator.w_dim:
        raise InputError(
            f"The stroke '{stroke.name}' moves codes by {list(stroke.step.shape)}; '{generator.name}' has codes "
            f"[{generator.num_layers}, {generator.w_dim}]. It was made with another generator."
        )


def _check_batch(stroke: Stroke, count: int) -> None:
    """Raise InputError for masks, values or steps that are neither one nor one for each picture."""
    unit = isinstance(stroke, UnitStroke)
    sizes = {"mask": len(stroke.mask), "values" if unit else "step": len(stroke.values if unit else stroke.step)}
    for name, size in sizes.items():
        if size not in (1, count):
            raise InputError(
                f"The stroke '{stroke.name}' has a {name} for {size} pictures; there are {count}. Give one, or one "
                "each."
            )
