"""The parameters of a text edit in training (CoralStyleCLIP, 2303.05031): direction or mapper, selection, attention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import resized_mask
from ...models.gan.text_edit_networks import LatentMapper, LayerAttention
from ...models.inference import clone_from_inference
from ..common.part_labels import PartLabels
from .edit import TextEdit
from .masks import cut_faint, selected_mask, selected_regions
from .settings import TextEditSettings

__all__ = ["TrainableEdit", "w_basis"]

_OPEN = 3.0  # selection at the start, before the sigmoid: all is open, since half an edit may show nothing at all
_THINNEST = 1e-6  # variance of an axis of W against the largest: below it only rounding is left


class TrainableEdit:
    """Change of the codes, selection of parts and rows, and attention, as tensors that an optimiser moves.

    Args:
        generator: a generator with a style per layer.
        codes: [N, L, D], the pictures to learn from.
        parts: of these pictures (N, or 1 for all); needed for regions.
        rows: rows of W+ that may change.
        settings: which of the parameters there are.
        rng: draws the first direction, or the networks' weights.
    """

    def __init__(
        self,
        generator: GanGenerator,
        codes: Tensor,
        parts: PartLabels | None,
        rows: Sequence[int],
        settings: TextEditSettings,
        rng: torch.Generator,
    ) -> None:
        layers, width = generator.num_layers, generator.w_dim
        self.rows, self.parts, self.codes = rows, parts, codes
        self.scale = 1.0  # of the whole change, set at the end
        self.threshold = settings.threshold
        self.basis = w_basis(generator, settings.coordinates).to(codes)
        self.offset = self.mapper = self.logits = self.attention = self.part_masks = None
        self.row_mask = torch.zeros(layers, 1, device=codes.device)
        self.row_mask[list(rows)] = 1
        if settings.changes == "mapper":
            self.mapper = LatentMapper(layers, width, 1.0, rng).to(codes.device)
        else:
            self.offset = (0.02 * torch.randn(layers, width, generator=rng)).to(codes.device).requires_grad_()
        if settings.masks in ("regions", "attention in regions"):
            self.logits = torch.full((len(parts.names), layers), _OPEN, device=codes.device, requires_grad=True)
            self.part_masks = clone_from_inference(parts.masks).to(self.row_mask)  # once: steps only pick from it
            self._resized: dict[tuple[int, ...], Tensor] = {}  # the same at the layers' sizes
        if settings.masks in ("attention", "attention in regions"):
            synthesis = generator.network.synthesis
            channels = [synthesis.layer_size(layer)[0] for layer in range(len(synthesis.layers))]
            self.attention = LayerAttention(channels, rng).to(codes.device)
            self.attention.init_masks(_OPEN)

    def init_from(self, direction: Tensor) -> None:
        """Start from a change [D] in unit coordinates, in place."""
        with torch.no_grad():
            if self.mapper is None:
                self.offset.add_(direction)
            else:
                self.mapper.add_bias(direction)

    def change(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the change of codes [B, L, D]: [B or 1, L, D], and the same in the coordinates that are learned."""
        units = (self.mapper(codes) if self.mapper is not None else self.offset[None]) * self.row_mask * self.scale
        return units @ self.basis.t(), units

    def masks(
        self,
        generator: GanGenerator,
        indices: Tensor,  # [B], which of the pictures to learn from
        features: Mapping[int, Tensor],  # of these pictures, layer -> [B, C, h, w]; attention reads them
    ) -> list[Tensor | None]:
        """Compute the masks [B or 1, 1, h, w] of the L rows; None where a row stays plain."""
        synthesis = generator.network.synthesis
        last = len(synthesis.layers) - 1
        masks: list[Tensor | None] = [None] * generator.num_layers
        for row in self.rows:
            layer = min(row, last)
            mask = torch.ones(1, 1, 1, 1, device=self.row_mask.device)
            if self.logits is not None:
                size = synthesis.layer_size(layer)[1:]
                mask = selected_mask(self._labels(indices, size), torch.sigmoid(self.logits[:, row]), size)
            if self.attention is not None:
                mask = mask * self.attention(layer, features[layer])
            masks[row] = cut_faint(mask, self.threshold)
        return masks

    def reach_masks(self, indices: Tensor, masks: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """Return masks that tell where the edit acts at all, as `masks.reach_masks` does for the finished edit."""
        if self.logits is None or self.attention is not None:
            return masks
        labels = self.part_masks if len(self.part_masks) == 1 else self.part_masks[indices.to(self.part_masks.device)]
        return selected_regions(labels, torch.sigmoid(self.logits), self.rows, self.threshold)

    def selected_share(self) -> Tensor | float:
        """Return how much of all parts and rows is selected, 0..1: small parts would be free by their pixels alone."""
        return 0.0 if self.logits is None else torch.sigmoid(self.logits[:, list(self.rows)]).mean()

    def _labels(self, indices: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the part masks of pictures [B] at a size; where it is small, they are resized once and kept."""
        masks = self._resized.get(size, self.part_masks)
        if masks is self.part_masks and math.prod(size) <= math.prod(masks.shape[-2:]):
            masks = self._resized[size] = resized_mask(masks, size)
        return masks if len(masks) == 1 else masks[indices.to(masks.device)]

    def to_text_edit(self, prompt: str, source: str, generator: GanGenerator, settings: TextEditSettings) -> TextEdit:
        """End the training: networks become frozen, and their output comes in the coordinates of W."""
        mapper = attention = selection = None
        if self.mapper is not None:
            mapper = self.mapper.requires_grad_(False).eval()
            mapper.fold_linear(self.basis * self.scale)
            with torch.no_grad():
                offset = mapper(self.codes).mean(dim=0) * self.row_mask
        else:
            offset = (self.offset.detach() * self.row_mask * self.scale) @ self.basis.t()
        if self.attention is not None:
            attention = self.attention.requires_grad_(False).eval()
        if self.logits is not None:
            selection = torch.sigmoid(self.logits.detach()) * self.row_mask[:, 0]
        masked = settings.masks != "none"
        return TextEdit(
            prompt=prompt,
            offset=offset,
            mapper=mapper,
            selection=selection,
            parts=self.parts.names if selection is not None else (),
            attention=attention,
            rows=self.rows,
            threshold=settings.threshold if masked else 0.0,
            keeps_outside=settings.keep_outside and masked,
            source=source,
            family=generator.family,
            name=prompt,
            method=f"{settings.masks}, {settings.changes}, {settings.steps} steps",
        )


def w_basis(generator: GanGenerator, coordinates: str) -> Tensor:
    """Return the matrix [D, D] that turns learned coordinates into codes.

    "plain": one standard deviation of W, the mean over its axes, along each axis, as StyleCLIP moves. "spread of W":
    along the principal axes of W, each in its own standard deviation, so that the optimiser moves as pictures differ,
    and leaves alone what no code has (compare the P space of 2012.09036).
    """
    covariance = generator.w_covariance.cpu().double()
    if coordinates == "plain":
        return torch.eye(len(covariance)) * float(covariance.diagonal().mean().sqrt())
    values, axes = torch.linalg.eigh(covariance)
    return (axes * values.clamp(min=_THINNEST * float(values.max())).sqrt()).float()
