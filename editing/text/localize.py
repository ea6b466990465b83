"""Localization of a direction: regions and layers that keep its effect and give up the area that does little for it.

The same trade as in the training of a text edit, with the change itself as target: of the picture of the full edit,
as much as possible where the edit acts most, with the smallest masks. No sentence takes part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import KeepOutside, LayerBlend
from ...models.gan.synthesis_run import SynthesisOptions, SynthesisResult
from ...models.inference import clone_from_inference, enable_training
from ..common.importance import importance
from ..common.part_labels import PartLabels
from ..common.progress import Progress, silent
from ..common.types import EditDirection
from .edit import TextEdit, check_styles
from .masks import cut_faint, selected_mask, selected_regions

__all__ = ["importance", "localize_direction"]


def localize_direction(
    generator: GanGenerator,
    direction: EditDirection,
    codes: Tensor,  # [N, L, D]: pictures to learn from
    parts: PartLabels,  # of these pictures (N, or 1 for all)
    amount: float = 1.0,  # lengths of the direction that the trade is made for
    area: float = 0.3,  # what a mask over everything costs, against 1 for losing the whole effect
    steps: int = 80,
    batch: int = 4,
    rate: float = 0.1,
    threshold: float = 0.1,
    stop_resolution: int | None = None,
    seed: int = 0,
    keep_outside: bool = False,  # where no mask reaches, every layer stays the unedited picture's
    progress: Progress | None = None,  # previews [3, H, W] in 0..1
) -> TextEdit:
    """Learn regions and layers for a direction; strength 1 of the edit is one length of the direction.

    An effect counts by its share of the strongest one of the picture, squared: a change of the mouth that everybody
    sees outweighs a faint drift of the whole background.

    Raises:
        InputError: codes, parts or families that do not fit, or an amount of 0.
    """
    _check(generator, direction, codes, parts, amount)
    progress = progress or silent
    rng = torch.Generator().manual_seed(seed)
    with enable_training():
        codes = clone_from_inference(codes).to(generator.device).float()
        labels = clone_from_inference(parts.masks).to(generator.device).float()
        change = clone_from_inference(direction.direction).to(codes) * amount
        trade = _Trade(
            generator, codes, labels, change, direction.layers, area, batch, stop_resolution, keep_outside, threshold
        )  # fmt: skip
        logits = torch.zeros(len(parts.names), generator.num_layers, device=codes.device, requires_grad=True)
        optimizer = torch.optim.Adam([logits], rate, (0.9, 0.98))
        for step in range(steps):
            indices = torch.randint(len(codes), (batch,), generator=rng).to(codes.device)
            optimizer.zero_grad(set_to_none=True)
            picture = trade.backward(indices, logits)
            optimizer.step()
            progress(step + 1, steps, (picture + 1) / 2 if step % 10 == 0 else None)
        row_mask = torch.zeros(generator.num_layers, device=codes.device)
        row_mask[list(direction.layers)] = 1
        selection = torch.sigmoid(logits.detach()) * row_mask
    return TextEdit(
        prompt=direction.name, offset=change, selection=selection, parts=parts.names, rows=direction.layers,
        threshold=threshold, keeps_outside=keep_outside, family=direction.family or generator.family,
        name=direction.name,
        method=f"localized: {direction.method}",
    )  # fmt: skip


def _check(generator: GanGenerator, direction: EditDirection, codes: Tensor, parts: PartLabels, amount: float) -> None:
    generator.check_latent(codes, "", "The latent")
    generator.check_latent(direction.direction[None], direction.family, f"The direction '{direction.name}'")
    check_styles(generator)
    if len(parts) not in (1, len(codes)):
        raise InputError(f"There are part labels of {len(parts)} pictures for {len(codes)} codes; label this batch.")
    if amount == 0:
        raise InputError("The amount is 0, which changes nothing; give the lengths of the direction that are wanted.")


@dataclass(frozen=True, eq=False)
class _FullEdit:
    """Some pictures before and after the edit of every region and layer."""

    unedited: SynthesisResult  # with features where they stay outside of masks
    edited: Tensor  # [B, 3, H, W]
    importance: Tensor  # [B, 1, H, W] in 0..1

    def effect(self) -> Tensor:
        """Return the distance of the unedited pictures: all that masks can lose."""
        return self.distance(self.unedited.image)

    def distance(self, images: Tensor) -> Tensor:
        """Sum the absolute differences of pictures [B, 3, H, W] from the edited ones, by importance: a scalar."""
        return ((images - self.edited).abs() * self.importance).sum()


@dataclass(frozen=True, eq=False)
class _Trade:
    """The trade of lost effect against area, for one direction."""

    generator: GanGenerator
    codes: Tensor  # [N, L, D]
    labels: Tensor  # [N or 1, P, h, w]
    change: Tensor  # [L, D]
    rows: Sequence[int]
    area: float
    batch: int
    stop_resolution: int | None
    keep_outside: bool
    threshold: float

    def backward(self, indices: Tensor, logits: Tensor) -> Tensor:
        """Add the gradient of a batch [B] of pictures to ``logits.grad`` [P, L]; return a picture [3, H, W]."""
        chunks = indices.split(max(1, self.generator.pictures_per_graph() // 2))  # a graph holds both branches
        layers = self._kept_layers()
        first = self._full_edit(chunks[0], layers)
        effects = [first.effect(), *(self._full_edit(chunk, ()).effect() for chunk in chunks[1:])]
        effect = torch.stack(effects).sum().clamp(min=1e-8)
        for k, chunk in enumerate(chunks):
            full = first if k == 0 else self._full_edit(chunk, layers)
            selection = torch.sigmoid(logits)
            masks = self._masks(chunk, selection)
            images = self._masked_edit(chunk, masks, selection, full)
            lost_effect = full.distance(images) / effect
            mean_area = torch.stack([mask.mean() for mask in masks if mask is not None]).mean()
            (lost_effect + self.area * mean_area * (len(chunk) / self.batch)).backward()
        return images[0].detach()

    def _kept_layers(self) -> Sequence[int]:
        """Return the layers whose features stay outside of masks: those that are drawn, or none."""
        if not self.keep_outside:
            return ()
        synthesis = self.generator.network.synthesis
        height = self.stop_resolution or self.generator.resolution[0]
        return [layer for layer in range(len(synthesis.layers)) if synthesis.layer_size(layer)[1] <= height]

    def _full_edit(self, indices: Tensor, layers: Sequence[int]) -> _FullEdit:
        """Draw pictures [B] without the edit, with features of ``layers``, and with all of it."""
        synthesis, codes = self.generator.network.synthesis, self.codes[indices]
        with torch.no_grad():
            unedited = synthesis(codes, SynthesisOptions(stop_resolution=self.stop_resolution, want_features=layers))
            edited = synthesis(codes + self.change, SynthesisOptions(stop_resolution=self.stop_resolution)).image
            return _FullEdit(unedited, edited, importance(edited - unedited.image))

    def _masked_edit(
        self, indices: Tensor, masks: Sequence[Tensor | None], selection: Tensor, full: _FullEdit
    ) -> Tensor:
        """Draw pictures [B] with the edit inside its masks: [B, 3, H, W]."""
        codes, hook = self.codes[indices], None
        if self.keep_outside:
            regions = selected_regions(self._labels(indices), selection, self.rows, self.threshold)
            hook = KeepOutside(regions, full.unedited.features)
        options = SynthesisOptions(
            stop_resolution=self.stop_resolution,
            blend=LayerBlend(codes + self.change, masks),
            hook=hook,
        )
        return self.generator.network.synthesis(codes, options).image

    def _masks(self, indices: Tensor, selection: Tensor) -> list[Tensor | None]:
        """Build the masks [B or 1, 1, h, w] of the L rows from a selection [P, L]."""
        synthesis = self.generator.network.synthesis
        labels, last = self._labels(indices), len(synthesis.layers) - 1
        masks: list[Tensor | None] = [None] * self.generator.num_layers
        for row in self.rows:
            size = synthesis.layer_size(min(row, last))[1:]
            masks[row] = cut_faint(selected_mask(labels, selection[:, row], size), self.threshold)
        return masks

    def _labels(self, indices: Tensor) -> Tensor:
        """Return the part labels of pictures [B]: [B or 1, P, h, w]."""
        return self.labels if len(self.labels) == 1 else self.labels[indices]
