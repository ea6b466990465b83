"""Painting: strokes on the features of a generator (GANPaint, 2005.07727), ready to be drawn by any synthesis.

A painting is a list of strokes, each with a mask of any size. `painting_hook` turns it into the hook that a synthesis
takes; `painting_mask` says where it acts. Strokes are of two kinds:

- `UnitStroke` is the paper's: inside the mask, some channels of one layer take given values.
- `DonorStroke` goes further: inside the mask, the features of several layers are those of the same picture with its
  code moved. On StyleGAN2, whose later layers can undo what one early layer says, that is what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..kernels import blend_features
from ..models import layer_blend
from ..models.colour_match import donor_features
from ..models.errors import InputError
from ..models.generator import GanGenerator
from ..models.inference import rehome
from ..models.progan import ARCHITECTURE
from ..models.stylegan2 import LayerState

__all__ = ["DonorStroke", "Painting", "UnitStroke", "painting_hook", "painting_mask"]

Hook = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class UnitStroke:
    """Inside a mask, units of one layer take given values: f' = (1 - m) f + m v on the channels ``units``.

    Args:
        mask: [B or 1, h, w] in 0..1, any size; 1 where the stroke acts.
        layer: the layer whose features change.
        units: the channels that change.
        values: [K] one value per unit, [B or 1, K] per picture, or [B or 1, K, h, w] a map (resized to the layer).
        name: what it does, for people.
        clears: whether something is taken away: then the whole stroke counts when it is joined to a photo.

    Raises:
        InputError: shapes that do not belong together, or a mask without any area.
    """

    mask: Tensor
    layer: int
    units: Sequence[int]
    values: Tensor
    name: str = "stroke"
    clears: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", checked_mask(self.mask))
        units = tuple(int(unit) for unit in self.units)
        if not units or min(units) < 0 or len(set(units)) != len(units):
            raise InputError(f"The stroke '{self.name}' needs units that differ from each other; got {list(units)}.")
        object.__setattr__(self, "units", units)
        values = self.values[None] if self.values.ndim == 1 else self.values
        if values.ndim not in (2, 4) or values.shape[1] != len(units) or not bool(torch.isfinite(values).all()):
            raise InputError(
                f"The stroke '{self.name}' sets {len(units)} units; its values have shape {list(self.values.shape)}, "
                "expected finite numbers [K], [B, K] or [B, K, h, w]."
            )
        object.__setattr__(self, "values", values)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose features change."""
        return (self.layer,)


@dataclass(frozen=True, eq=False)
class DonorStroke:
    """Inside a mask, the features of ``layers`` are those of the same picture with its code moved.

    The step is ``step`` itself, or, with a normal, as much of it as brings w . normal to ``target``; a code that is
    there or beyond already stays where it is, so that inserting never takes away and removing never adds.

    Args:
        mask: [B or 1, h, w] in 0..1, any size.
        layers: the layers whose features are taken from the donor.
        step: [R, D] or [B or 1, R, D], what is added to codes; R rows of W+, or 1 for all alike.
        normal: [D], with w the mean of a code's rows; None: the step is taken as it is.
        target: where w . normal shall be.
        name: what it does, for people.
        clears: as a unit stroke's.

    Raises:
        InputError: shapes that do not belong together, a step that does not move w . normal, or a mask without area.
    """

    mask: Tensor
    layers: Sequence[int]
    step: Tensor
    normal: Tensor | None = None
    target: float | None = None
    name: str = "stroke"
    clears: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", checked_mask(self.mask))
        layers = tuple(sorted({int(layer) for layer in self.layers}))
        if not layers or layers[0] < 0:
            raise InputError(f"The stroke '{self.name}' needs layers to paint on; got {list(self.layers)}.")
        object.__setattr__(self, "layers", layers)
        step = self.step[None] if self.step.ndim == 2 else self.step
        if step.ndim != 3 or not bool(torch.isfinite(step).all()):
            raise InputError(
                f"The stroke '{self.name}' moves codes by {list(self.step.shape)}; expected finite [B, R, D]."
            )
        object.__setattr__(self, "step", step)
        if self.normal is not None:
            along = (
                (step.mean(dim=1) @ self.normal.to(step)) if self.normal.shape == step.shape[2:] else step.new_zeros(1)
            )
            if self.target is None or float(along.abs().min()) < 1e-8:
                raise InputError(f"The step of the stroke '{self.name}' does not change what it should change.")

    def offset(self, codes: Tensor) -> Tensor:
        """[B, L, D], what is added to ``codes`` [B, L, D]."""
        step = self.step.to(codes).expand(len(codes), codes.shape[1], -1)
        if self.normal is None:
            return step
        normal = self.normal.to(codes)
        along = step.mean(dim=1) @ normal
        missing = (self.target - codes.mean(dim=1) @ normal) / along
        return missing.clamp(min=0)[:, None, None] * step


Stroke = UnitStroke | DonorStroke


@dataclass(frozen=True, eq=False)
class Painting:
    """Strokes in the order they were painted (socket GAN_PAINTING); a later one lies on top.

    ``family`` names the generator they were made for, "" when unknown.
    """

    strokes: tuple[Stroke, ...] = ()
    family: str = ""

    def __len__(self) -> int:
        return len(self.strokes)

    def plus(self, stroke: Stroke) -> Painting:
        """The same painting with one more stroke on top."""
        return replace(self, strokes=(*self.strokes, stroke))

    @property
    def layers(self) -> tuple[int, ...]:
        """All layers that are painted on, ascending."""
        return tuple(sorted({layer for stroke in self.strokes for layer in stroke.layers}))

    @property
    def first_layer(self) -> int | None:
        """The earliest layer that is painted on: everything before it can be kept. None without strokes."""
        return min(self.layers, default=None)

    @property
    def last_layer(self) -> int | None:
        """The last layer that is painted on. None without strokes."""
        return max(self.layers, default=None)


def painting_hook(
    painting: Painting,
    generator: GanGenerator,
    codes: Tensor | None = None,
    noise: str | int = "constant",
    below: LayerState | None = None,
    kept: dict[tuple, dict[int, Tensor]] | None = None,
) -> Hook:
    """The hook ``(layer, features [B, C, h, w]) -> features`` by which a synthesis draws the painting.

    Args:
        painting: its strokes; they are checked against the generator here, before any work.
        generator: the generator that will draw.
        codes: [B, L, D], what will be drawn; needed for donor strokes, whose features are made here (a partial
            synthesis each, up to the last layer that the stroke paints on, with the strokes below it).
        noise: the noise of the picture that will be drawn; donors have the same.
        below: where a synthesis of the codes stands before the first painted layer, if that is known already.
        kept: what donors gave, by the strokes up to theirs; read, and added to. For the same generator and codes only.

    Raises:
        InputError: another family, a layer or unit that the generator does not have, another number of pictures.
    """
    _check_painting(painting, generator, codes)
    by_layer: dict[int, list[Callable[[Tensor], Tensor]]] = {}

    def hook(layer: int, x: Tensor) -> Tensor:
        for paint in by_layer.get(layer, ()):
            x = paint(x)
        return x

    kept = {} if kept is None else kept
    for k, stroke in enumerate(painting.strokes):
        if isinstance(stroke, UnitStroke):
            by_layer.setdefault(stroke.layer, []).append(_unit_painter(stroke))
            continue
        so_far = painting.strokes[: k + 1]
        if so_far not in kept:
            codes = codes.to(generator.device)
            kept[so_far] = _donor(stroke, generator, codes, noise, hook if by_layer else None, below)
        taken = kept[so_far]
        for layer, features in taken.items():
            by_layer.setdefault(layer, []).append(_donor_painter(stroke, features))
    # An adapted generator leaves the photo's details out where this paints.
    hook.mask = painting_mask(painting, *generator.resolution).to(generator.device)
    return hook


def painting_mask(painting: Painting, height: int, width: int, batch: int | None = None) -> Tensor:
    """Where the painting acts, [B or 1, 1, height, width] in 0..1: the largest of its strokes' masks at each pixel.

    ``batch`` widens the result to that many pictures. A painting without strokes acts nowhere: zeros.
    """
    masks = [resized_mask(stroke.mask, height, width) for stroke in painting.strokes]
    whole = torch.zeros(1, 1, height, width)
    for mask in masks:
        whole = torch.maximum(whole.to(mask), mask)
    return whole if batch is None else whole.expand(batch, -1, -1, -1)


def resized_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """[B, h, w] -> [B, 1, height, width], the share of each cell that the mask covers."""
    return layer_blend.resized_mask(mask[:, None], (height, width))


def checked_mask(mask: Tensor) -> Tensor:
    """A MASK [B, h, w] or [h, w] as float [B, h, w] in 0..1.

    Raises InputError for another shape, numbers that are not finite, and a mask that marks nothing.
    """
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or 0 in mask.shape:
        raise InputError(f"The mask has shape {list(mask.shape)}; expected a MASK [B, h, w].")
    mask = mask.to(torch.float32)
    if not bool(torch.isfinite(mask).all()):
        raise InputError("The mask contains numbers that are not finite.")
    mask = mask.clamp(0, 1)
    if float(mask.max()) < 0.5:
        raise InputError(
            "The mask is empty: nothing is marked. Paint where the stroke shall act (in ComfyUI: right-click the "
            "picture, Open in Mask Editor); white is 1, and 1 is where the edit acts."
        )
    return mask


class _Kept:
    """A mask, values or features of other nodes, to be painted with; where a graph is made, as a normal tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __call__(self) -> Tensor:
        if torch.is_grad_enabled():  # once, not in every step; most paintings are drawn without a graph
            self.tensor = rehome(self.tensor)
        return self.tensor


def _unit_painter(stroke: UnitStroke) -> Callable[[Tensor], Tensor]:
    where, what = _Kept(stroke.mask), _Kept(stroke.values)

    def paint(x: Tensor) -> Tensor:
        mask = resized_mask(where(), *x.shape[2:]).to(x)
        values = what().to(x)
        if values.ndim == 2:
            values = values[:, :, None, None]
        elif values.shape[2:] != x.shape[2:]:
            values = F.interpolate(values, x.shape[2:], mode="bilinear", antialias=True, align_corners=False)
        units = list(stroke.units)
        painted = x.clone()
        painted[:, units] = torch.lerp(
            x[:, units], values.expand(len(x), -1, *x.shape[2:]), mask.expand(len(x), -1, -1, -1)
        )
        return painted

    return paint


def _donor(
    stroke: DonorStroke,
    generator: GanGenerator,
    codes: Tensor,
    noise: str | int,
    hook: Hook | None,
    below: LayerState | None,
) -> dict[int, Tensor]:
    """layer -> [B, C, h, w]: what the stroke paints, with the colours it has under the donor's own code."""
    synthesis = generator.network.synthesis
    moved = codes + stroke.offset(codes)
    first, last, rest = stroke.layers[0], stroke.layers[-1], stroke.layers[1:]
    begun = synthesis(moved, noise, want_features=(first,), stop_layer=first, hook=hook)
    features = dict(begun.features)
    if rest:
        features.update(
            synthesis(moved, noise, want_features=rest, stop_layer=last, resume=begun.state, hook=hook).features
        )
    if generator.network.config.architecture == ARCHITECTURE:  # a Progressive GAN: no styles, nothing to match
        return features
    # Between the two convolutions of a block the picture so far is the same.
    if below is None or below.layer != first - 1 or synthesis.layers[first][1] != "conv1":
        below = synthesis(codes, noise, stop_layer=first, hook=hook).state
    return donor_features(synthesis, codes, moved, features, below.image, begun.state.image)


def _donor_painter(stroke: DonorStroke, features: Tensor) -> Callable[[Tensor], Tensor]:
    where, what = _Kept(stroke.mask), _Kept(features)

    def paint(x: Tensor) -> Tensor:
        return blend_features(x, what().to(x), resized_mask(where(), *x.shape[2:]).to(x))

    return paint


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
