"""GANPaint (2005.07727): a painting, strokes on the features of a generator, ready to be drawn by any synthesis.

A painting is a list of strokes, each with a mask of any size; painting_hook.py turns it into the hook that a synthesis
takes; `painting_mask` says where it acts. Strokes are of two kinds:

- `UnitStroke` is the paper's: inside the mask, some channels of one layer take given values.
- `DonorStroke` goes further: inside the mask, the features of several layers are those of the same picture with its
  code moved. On StyleGAN2, whose later layers can undo what one early layer says, that is what holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.crop_box import CropBox, bounding_box
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import resized_mask
from ...models.gan.stylegan3_config import ALIAS_FREE

__all__ = [
    "DonorStroke",
    "Painting",
    "Stroke",
    "UnitStroke",
    "check_paintable",
    "checked_mask",
    "mask_boxes",
    "painting_mask",
    "stroke_boxes",
]


def check_paintable(generator: GanGenerator) -> None:
    """Refuse a generator whose units stand for no places of the picture.

    Raises:
        InputError: it is a StyleGAN3.
    """
    if generator.network.config.architecture == ALIAS_FREE:
        raise InputError(
            f"Dissecting and painting need units that stay in their places; '{generator.name}' is a StyleGAN3, whose "
            "features are turned and shifted with the picture. Use a StyleGAN2 or a Progressive GAN generator."
        )


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
        box: the part of the layer that a map of values is of, which holds the mask; None: all of it.

    Raises:
        InputError: shapes that do not belong together, or a mask without any area.
    """

    mask: Tensor
    layer: int
    units: Sequence[int]
    values: Tensor
    name: str = "stroke"
    clears: bool = False
    box: CropBox | None = None

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
        """Return what is added to codes, [B, L, D] -> [B, L, D]."""
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
        """Return the same painting with one more stroke on top."""
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


def stroke_boxes(strokes: Sequence[Stroke], generator: GanGenerator) -> list[CropBox]:
    """Return the boxes of the strokes' masks, at every size at which they are painted, and at the picture's."""
    layers = {layer for stroke in strokes for layer in stroke.layers}
    return [box for stroke in strokes for box in mask_boxes(stroke.mask, layers, generator)]


def mask_boxes(mask: Tensor, layers: Iterable[int], generator: GanGenerator) -> list[CropBox]:
    """Return the boxes of a mask at each size of some layers, and at the picture's: resizing may spread it.

    Args:
        mask: [B, h, w] in 0..1, any size.
        layers: of the generator.
        generator: whose sizes they are.
    """
    sizes = {tuple(generator.network.synthesis.layer_size(layer)[1:]) for layer in layers}
    boxes = [bounding_box(resized_mask(mask[:, None], size)) for size in sizes | {generator.resolution}]
    return [box for box in boxes if box is not None]


def painting_mask(painting: Painting, height: int, width: int, batch: int | None = None) -> Tensor:
    """Return where a painting acts: the largest of its strokes' masks at each pixel.

    Args:
        painting: without strokes it acts nowhere.
        height: of the result, in pixels.
        width: of the result, in pixels.
        batch: the number of pictures; None: as many as the masks are for.

    Returns:
        [B or 1, 1, height, width] in 0..1.
    """
    union = torch.zeros(1, 1, height, width)
    for stroke in painting.strokes:
        mask = resized_mask(stroke.mask[:, None], (height, width))
        union = torch.maximum(union.to(mask), mask)
    return union if batch is None else union.expand(batch, -1, -1, -1)


def checked_mask(mask: Tensor) -> Tensor:
    """Check a MASK and return it as float.

    Args:
        mask: [B, h, w] or [h, w]; values beyond 0..1 are clamped.

    Returns:
        [B, h, w] in 0..1.

    Raises:
        InputError: another shape, numbers that are not finite, or a mask that marks nothing.
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
