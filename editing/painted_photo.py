"""A painting on a photo: what the generator draws, joined to the photo so that everything else stays the photo's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.errors import InputError
from ..models.generator import GanGenerator
from .blending import DILATION, FEATHER, blend, feathered_mask
from .painting import Painting, painting_hook, painting_mask

__all__ = ["Canvas", "PaintedPhoto", "render_painting", "render_painted_photo"]


@dataclass(frozen=True, eq=False)
class PaintedPhoto:
    """``composite`` and ``raw`` [B, 3, H, W] in -1..1 at the photo's size, ``mask`` [B or 1, 1, H, W]: how much of each
    pixel is the generator's."""

    composite: Tensor
    raw: Tensor
    mask: Tensor


class Canvas:
    """Codes that are painted on again and again: the layers before the painting are computed once.

    One for each picture or batch that is edited; it keeps the features of one layer.
    """

    def __init__(self, generator: GanGenerator, codes: Tensor, noise: str | int = "constant") -> None:
        generator.check_latent(codes, "", "The latent to paint")
        self.generator, self.codes, self.noise = generator, codes.to(generator.device), noise
        self._states: dict[int, object] = {}

    def draw(self, painting: Painting) -> Tensor:
        """[B, 3, H, W], about -1..1: the pictures with the painting."""
        synthesis = self.generator.network.synthesis
        first = painting.first_layer
        if first is None:
            return synthesis(self.codes, self.noise).image
        hook = painting_hook(painting, self.generator, self.codes, self.noise)
        return synthesis(self.codes, self.noise, resume=self._before(first), hook=hook).image

    def _before(self, layer: int):
        if layer == 0:
            return None
        if layer not in self._states:
            self._states.clear()  # strokes of one kind begin at one layer: the last is the one to keep
            self._states[layer] = self.generator.network.synthesis(self.codes, self.noise, stop_layer=layer - 1).state
        return self._states[layer]


def render_painting(
    generator: GanGenerator, codes: Tensor, painting: Painting, noise: str | int = "constant"
) -> Tensor:
    """[B, L, D] -> [B, 3, H, W] about -1..1, with the painting on the way."""
    with torch.no_grad():
        return Canvas(generator, codes, noise).draw(painting)


def render_painted_photo(
    canvas: Canvas,
    painting: Painting,
    photo: Tensor,  # [B, 3, H, W] in -1..1, of the generator's aspect, any size
    dilation: float = DILATION,
    feather: float = FEATHER,
    method: str = "linear",
) -> PaintedPhoto:
    """Draw the painting and join it to the photo, at the photo's own size. Outside the grown mask every pixel is kept.

    Raises InputError for a painting without strokes, photos of another aspect or number, and unknown methods.
    """
    if not len(painting):
        raise InputError("The painting has no strokes yet; connect Paint Concept or Copy Appearance.")
    height, width = canvas.generator.resolution
    given = tuple(photo.shape[2:])
    if given[0] * width != given[1] * height:
        raise InputError(
            f"The photo is {given[1]} x {given[0]}; '{canvas.generator.name}' draws {width} x {height}. Crop or pad it "
            "to that shape first, with the same crop for the mask."
        )
    if len(photo) != len(canvas.codes):
        raise InputError(
            f"There are {len(photo)} photos for {len(canvas.codes)} codes; connect those of the same batch."
        )
    with torch.no_grad():
        raw = canvas.draw(painting).clamp(-1, 1)
        if tuple(raw.shape[2:]) != given:
            raw = F.interpolate(raw, given, mode="bilinear", antialias=True, align_corners=False)
        mask = feathered_mask(painting_mask(painting, *given).to(raw), dilation, feather)
        return PaintedPhoto(blend(photo.to(raw), raw, mask, method), raw, mask)
