"""What a text edit learns: a change of codes, a selection of parts and rows, an attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import resized_mask
from ...models.gan.text_edit_networks import LatentMapper, LayerAttention
from ...models.inference import clone_from_inference
from .edit import TextEdit, selected_mask
from .settings import TextEditSettings

__all__ = ["TextModel", "root_of"]

_OPEN = 3.0  # selection at the start, before the sigmoid: all is open, since half an edit may show nothing at all
_THINNEST = 1e-6  # variance of an axis of W against the largest: below it only rounding is left


class TextModel:
    """What is learned: the change of the codes, the selection of parts, the attention."""

    def __init__(self, generator, codes, parts, rows, settings: TextEditSettings, rng: torch.Generator) -> None:
        layers, width = generator.num_layers, generator.w_dim
        self.rows, self.parts = rows, parts
        self.stretch = 1.0  # of the whole change, set at the end
        self.root = root_of(generator, settings.coordinates).to(codes)
        self.offset = self.mapper = self.logits = self.attention = self.part_masks = None
        self.sample = codes
        self.inside = torch.zeros(layers, 1, device=codes.device)
        self.inside[list(rows)] = 1
        if settings.changes == "mapper":
            self.mapper = LatentMapper(layers, width, 1.0, rng).to(codes.device)
        else:
            self.offset = (0.02 * torch.randn(layers, width, generator=rng)).to(codes.device).requires_grad_()
        if settings.masks in ("regions", "attention in regions"):
            self.logits = torch.full((len(parts.names), layers), _OPEN, device=codes.device, requires_grad=True)
            self.part_masks = clone_from_inference(parts.masks).to(self.inside)  # once: steps only pick from it
            self._resized: dict[tuple[int, ...], Tensor] = {}  # the same at the layers' sizes
        if settings.masks in ("attention", "attention in regions"):
            synthesis = generator.network.synthesis
            channels = [synthesis.layer_size(layer)[0] for layer in range(len(synthesis.layers))]
            self.attention = LayerAttention(channels, rng).to(codes.device)
            self.attention.open(_OPEN)

    def begin(self, start: Tensor) -> None:
        """Start from a change [D] in unit coordinates."""
        with torch.no_grad():
            if self.mapper is None:
                self.offset.add_(start)
            else:
                self.mapper.lean(start)

    def change(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L, D] -> the change [B or 1, L, D], and the same in the coordinates that are learned."""
        units = (self.mapper(codes) if self.mapper is not None else self.offset[None]) * self.inside * self.stretch
        return units @ self.root.t(), units

    def masks(self, generator, chosen: Tensor, features: dict[int, Tensor]) -> list[Tensor | None]:
        """One mask per row for the chosen pictures."""
        synthesis = generator.network.synthesis
        last = len(synthesis.layers) - 1
        found: list[Tensor | None] = [None] * generator.num_layers
        for row in self.rows:
            layer = min(row, last)
            mask = torch.ones(1, 1, 1, 1, device=self.inside.device)
            if self.logits is not None:
                size = synthesis.layer_size(layer)[1:]
                mask = selected_mask(self._labels(chosen, size), torch.sigmoid(self.logits[:, row]), size)
            if self.attention is not None:
                mask = mask * self.attention(layer, features[layer])
            found[row] = mask
        return found

    def chosen(self) -> Tensor | float:
        """How much of all parts and rows is selected, 0..1: small parts would be free by their pixels alone."""
        return 0.0 if self.logits is None else torch.sigmoid(self.logits[:, list(self.rows)]).mean()

    def _labels(self, chosen: Tensor, size: tuple[int, ...]) -> Tensor:
        """The chosen pictures' parts at a size; where it is small, they are resized once, and picked from then on."""
        masks = self._resized.get(size, self.part_masks)
        if masks is self.part_masks and math.prod(size) <= math.prod(masks.shape[-2:]):
            masks = self._resized[size] = resized_mask(masks, size)
        return masks if len(masks) == 1 else masks[chosen.to(masks.device)]

    def finished(self, prompt: str, source: str, generator, settings: TextEditSettings) -> TextEdit:
        mapper = attention = selection = None
        if self.mapper is not None:
            mapper = self.mapper.requires_grad_(False).eval()
            mapper.into(self.root * self.stretch)
            with torch.no_grad():
                offset = mapper(self.sample).mean(dim=0) * self.inside
        else:
            offset = (self.offset.detach() * self.inside * self.stretch) @ self.root.t()
        if self.attention is not None:
            attention = self.attention.requires_grad_(False).eval()
        if self.logits is not None:
            selection = torch.sigmoid(self.logits.detach()) * self.inside[:, 0]
        return TextEdit(
            prompt=prompt,
            offset=offset,
            mapper=mapper,
            selection=selection,
            parts=self.parts.names if selection is not None else (),
            attention=attention,
            rows=self.rows,
            threshold=settings.threshold if settings.masks != "none" else 0.0,
            keeps_outside=settings.keep_outside and settings.masks != "none",
            source=source,
            family=generator.family,
            name=prompt,
            method=f"{settings.masks}, {settings.changes}, {settings.steps} steps",
        )


def root_of(generator: GanGenerator, coordinates: str) -> Tensor:
    """[D, D] that turns learned coordinates into codes.

    "plain": one standard deviation of W, the mean over its axes, along each axis, as StyleCLIP moves. "spread of W":
    along the principal axes of W, each in its own standard deviation, so that the optimiser moves as pictures differ,
    and leaves alone what no code has (compare the P space of 2012.09036).
    """
    covariance = generator.w_covariance.cpu().double()
    if coordinates == "plain":
        return torch.eye(len(covariance)) * float(covariance.diagonal().mean().sqrt())
    values, axes = torch.linalg.eigh(covariance)
    return (axes * values.clamp(min=_THINNEST * float(values.max())).sqrt()).float()
