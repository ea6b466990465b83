"""Drawing a painting: its strokes as a hook on the way of a synthesis, of the whole picture or of a part of it.

A donor's features are needed inside its stroke's mask alone, so no more than that part of them is made, and its
surroundings as far as they are felt there (models/gan/crop_box.py).
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
from ...models.gan.crop_box import Window, part_of
from ...models.gan.generator import GanGenerator
from ...models.gan.progan import ARCHITECTURE
from ...models.gan.stylegan2 import LayerState
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference
from .painted_region import cut, cut_early
from .painting import DonorStroke, Painting, UnitStroke, marks_of, painting_mask, resized_mask

__all__ = ["Donated", "PaintingHook", "features_within", "mask_of", "painting_hook"]

Painter = Callable[[Tensor, Window | None], Tensor]  # (features, the part of the picture they are) -> features


@dataclass(frozen=True, eq=False)
class Donated:
    """What a stroke paints: layer -> [B, C, h, w], of a part of the picture, or of the whole."""

    features: Mapping[int, Tensor]
    window: Window | None = None


class PaintingHook:
    """``(layer, features [B, C, h, w]) -> features``: paints on the way of a synthesis.

    ``mask`` [B or 1, 1, H, W] says where: an adapted generator leaves the photo's details out there. None while donors
    are made, which have the details that their pictures have.
    """

    def __init__(self, mask: Tensor | None = None) -> None:
        self.mask = mask
        self.window: Window | None = None
        self.painters: dict[int, list[Painter]] = {}

    @property
    def layers(self) -> Collection[int]:
        """The layers that are painted on."""
        return self.painters.keys()

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        for paint in self.painters.get(layer, ()):
            x = paint(x, self.window)
        return x

    def within(self, window: Window | None) -> PaintingHook:
        """The same for a run that draws a part of the picture (None: all of it); strokes are shared."""
        hook = PaintingHook(self.mask)
        hook.window, hook.painters = window, self.painters
        return hook


def painting_hook(
    painting: Painting,
    generator: GanGenerator,
    codes: Tensor | None = None,
    noise: str | int = "constant",
    below: LayerState | None = None,
    kept: dict[tuple, Donated] | None = None,
) -> PaintingHook:
    """The hook ``(layer, features [B, C, h, w]) -> features`` by which a synthesis draws the painting.

    Args:
        painting: its strokes; they are checked against the generator here, before any work.
        generator: the generator that will draw.
        codes: [B, L, D], what will be drawn; needed for donor strokes, whose features are made here (a partial
            synthesis each, up to the last layer that the stroke paints on, with the strokes below it; only as much of
            the picture as the stroke needs).
        noise: the noise of the picture that will be drawn; donors have the same.
        below: where a synthesis of the codes stands before the first painted layer, if that is known already.
        kept: what donors gave, by the strokes up to theirs; read, and added to. For the same generator and codes only.

    Raises:
        InputError: another family, a layer or unit that the generator does not have, another number of pictures.
    """
    _check_painting(painting, generator, codes)
    hook = PaintingHook()
    kept = {} if kept is None else kept
    for k, stroke in enumerate(painting.strokes):
        if isinstance(stroke, UnitStroke):
            hook.painters.setdefault(stroke.layer, []).append(_unit_painter(stroke))
            continue
        so_far = painting.strokes[: k + 1]
        if so_far not in kept:
            codes = codes.to(generator.device)
            kept[so_far] = _donor(stroke, generator, codes, noise, hook if hook.painters else None, below)
        taken = kept[so_far]
        for layer, features in taken.features.items():
            hook.painters.setdefault(layer, []).append(_donor_painter(stroke, features, taken.window))
    # Not before: what a donor is must not depend on the strokes that come after its own.
    hook.mask = painting_mask(painting, *generator.resolution).to(generator.device)
    return hook


class _Kept:
    """A mask, values or features of other nodes, to be painted with; where a graph is made, as a normal tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __call__(self) -> Tensor:
        if torch.is_grad_enabled():  # once, not in every step; most paintings are drawn without a graph
            self.tensor = clone_from_inference(self.tensor)
        return self.tensor


def _unit_painter(stroke: UnitStroke) -> Painter:
    where, what = _Kept(stroke.mask), _Kept(stroke.values)

    def paint(x: Tensor, window: Window | None) -> Tensor:
        mask, values = mask_of(where(), x, window), what().to(x)
        here: tuple = (...,)
        if values.ndim == 2:
            values = values[:, :, None, None]
        elif stroke.window is None:
            size = _whole_size(x, window)
            if values.shape[2:] != size:
                values = F.interpolate(values, size, mode="bilinear", antialias=True, align_corners=False)
            values = part_of(values, window)
        else:
            both = _overlap(x, window, stroke.window)
            if both is None:
                return x
            here, values = both[0], values[both[1]]
        units = list(stroke.units)
        painted = x.clone()
        before, mask = x[here][:, units], mask[here]
        values, mask = values.expand(len(x), -1, *before.shape[2:]), mask.expand(len(x), -1, -1, -1)
        painted[here][:, units] = torch.lerp(before, values, mask)
        return painted

    return paint


def _donor(
    stroke: DonorStroke,
    generator: GanGenerator,
    codes: Tensor,
    noise: str | int,
    hook: PaintingHook | None,
    below: LayerState | None,
) -> Donated:
    """What the stroke paints, with the colours it has under the donor's own code."""
    synthesis = generator.network.synthesis
    moved = codes + stroke.offset(codes)
    first = stroke.layers[0]
    features, begun = features_within(generator, moved, stroke.mask, stroke.layers, noise, hook)
    if generator.network.config.architecture == ARCHITECTURE:  # a Progressive GAN: no styles, nothing to match
        return Donated(features, begun.window)
    # Between the two convolutions of a block the picture so far is the same.
    if below is None or below.layer != first - 1 or synthesis.layers[first][1] != "conv1":
        below = synthesis(codes, SynthesisOptions(noise=noise, stop_layer=first, hook=hook)).state
    image = None if below.image is None else part_of(below.image, begun.window)
    return Donated(donor_features(synthesis, codes, moved, features, image, begun.image), begun.window)


def features_within(
    generator: GanGenerator,
    codes: Tensor,
    mask: Tensor,
    layers: Sequence[int],  # ascending
    noise: str | int = "constant",
    hook: PaintingHook | None = None,
) -> tuple[dict[int, Tensor], LayerState]:
    """The features of ``layers``, of no more of the picture than is needed inside a mask [B or 1, h, w].

    Returns:
        layer -> [B, C, h, w], and the state after the first of them, whose window says which part they are.
    """
    synthesis, (first, *rest) = generator.network.synthesis, layers
    # Where an adaptation's details have gone is seen in one layer's whole features, with the strokes below.
    adaptation = generator.adaptation
    seen = 0 if adaptation is None or adaptation.guide is None else adaptation.guide
    layer, window = cut_early(synthesis, marks_of(mask, layers, generator), first, seen) or (first, None)
    begun = cut(synthesis(codes, SynthesisOptions(noise=noise, stop_layer=layer, hook=hook)).state, window)
    hook = hook if hook is None else hook.within(window)
    if layer < first:
        begun = synthesis(codes, SynthesisOptions(noise=noise, stop_layer=first, resume=begun, hook=hook)).state
    features = {first: begun.features}
    if rest:
        run = synthesis(
            codes, SynthesisOptions(noise=noise, want_features=rest, stop_layer=rest[-1], resume=begun, hook=hook)
        )
        features.update(run.features)
    return features, begun


def _donor_painter(stroke: DonorStroke, features: Tensor, part: Window | None) -> Painter:
    where, what = _Kept(stroke.mask), _Kept(features)

    def paint(x: Tensor, window: Window | None) -> Tensor:
        mask, painted = mask_of(where(), x, window), what().to(x)
        if part == window:
            return blend_features(x, painted, mask)
        both = _overlap(x, window, part)
        if both is None:
            return x
        here, there = both
        result = x.clone()
        result[here] = blend_features(x[here], painted[there], mask[here])
        return result

    return paint


def _overlap(x: Tensor, window: Window | None, part: Window | None) -> tuple[tuple, tuple] | None:
    """Where features x, which are the ``window``, and a stroke's, which are the ``part``, are both known: slices of
    either. None where nowhere; beyond its own part a stroke's mask is zero."""
    whole = _whole_size(x, window)
    here, there = ((0, whole[0], 0, whole[1]) if w is None else w.box(*whole) for w in (window, part))
    top, left = max(here[0], there[0]), max(here[2], there[2])
    bottom, right = min(here[1], there[1]), min(here[3], there[3])
    if top >= bottom or left >= right:
        return None
    return tuple((..., slice(top - of[0], bottom - of[0]), slice(left - of[2], right - of[2])) for of in (here, there))


def _whole_size(x: Tensor, window: Window | None) -> tuple[int, int]:
    return tuple(x.shape[2:]) if window is None else window.whole(*x.shape[2:])


def mask_of(mask: Tensor, x: Tensor, window: Window | None) -> Tensor:
    """[B, h, w] -> [B, 1, h, w] as large as the features x, which are a part of the picture or the whole."""
    return part_of(resized_mask(mask, *_whole_size(x, window)).to(x), window)


def _check_painting(painting: Painting, generator: GanGenerator, codes: Tensor | None) -> None:
    if painting.family and painting.family != generator.family:
        raise InputError(
            f"The painting was made for the generator family '{painting.family}', but '{generator.name}' is of the "
            f"family '{generator.family}'. Paint with concepts of this generator."
        )
    count = None if codes is None else len(codes)
    for stroke in painting.strokes:
        what = f"The stroke '{stroke.name}'"
        for layer in stroke.layers:
            channels = generator.network.synthesis.layer_size(layer)[0]
            if isinstance(stroke, UnitStroke) and max(stroke.units) >= channels:
                raise InputError(
                    f"{what} paints unit {max(stroke.units)}; layer {layer} has units 0 to {channels - 1}."
                )
        if isinstance(stroke, DonorStroke):
            if codes is None:
                raise InputError(f"{what} moves the codes of the pictures; it can only be drawn where they are known.")
            if stroke.step.shape[1] not in (1, generator.num_layers) or stroke.step.shape[2] != generator.w_dim:
                raise InputError(
                    f"{what} moves codes by {list(stroke.step.shape)}; '{generator.name}' has codes "
                    f"[{generator.num_layers}, {generator.w_dim}]. It was made with another generator."
                )
        sizes = {"mask": len(stroke.mask)}
        sizes["values" if isinstance(stroke, UnitStroke) else "step"] = len(
            stroke.values if isinstance(stroke, UnitStroke) else stroke.step
        )
        for part, size in sizes.items():
            if count is not None and size not in (1, count):
                raise InputError(f"{what} has a {part} for {size} pictures; there are {count}. Give one, or one each.")
