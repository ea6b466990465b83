"""Masks of a text edit: one for each row of W+, from selected parts, attention and what is drawn by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import LayerBlend, resized_mask
from ...models.gan.synthesis_run import SynthesisOptions
from ..common.part_labels import PartLabels
from .edit import TextEdit, check_edit, on_device_of

__all__ = ["cut_faint", "layer_blend", "reach_masks", "row_masks", "selected_mask", "selected_regions"]


def row_masks(
    edit: TextEdit,
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D], before the edit
    parts: PartLabels | None = None,  # of these pictures; needed where the edit selects parts
    noise: str | int = "constant",
    first_index: int = 0,  # position of codes[0] in a larger batch, for seeded noise
    photos: Tensor | None = None,  # [B]: of an adapted generator, whose photo each code is
) -> list[Tensor | None]:
    """Compute the masks of the L rows, [B or 1, 1, h, w] each, None where a row shows nothing.

    Raises:
        InputError: an edit of another generator, or parts that are missing or of another batch.
    """
    check_edit(edit, generator, codes, parts)
    codes = codes.to(generator.device)
    last = len(generator.network.synthesis.layers) - 1
    attention: dict[int, Tensor] = {}
    if edit.attention is not None:
        options = SynthesisOptions(noise=noise, first_index=first_index, photos=photos)
        attention = _attention_masks(edit, generator, codes, options)
    masks: list[Tensor | None] = []
    for row in range(generator.num_layers):
        masks.append(_row_mask(edit, row, min(row, last), generator, codes, parts, attention))
    return masks


def selected_mask(labels: Tensor, weights: Tensor, size: Sequence[int]) -> Tensor:
    """Sum part masks by their weights.

    Args:
        labels: [B, P, h, w] in 0..1.
        weights: [P] in 0..1.
        size: height, width of the result.

    Returns:
        [B, 1, *size] in 0..1.
    """
    return (resized_mask(labels, size) * weights[:, None, None]).sum(dim=1, keepdim=True).clamp(0, 1)


def selected_regions(labels: Tensor, selection: Tensor, rows: Sequence[int], threshold: float) -> list[Tensor | None]:
    """Return for each of L rows where it acts: 1 in the part that changes most at it, less in others as they change.

    A row whose parts all change by one half acts as fully where they are as one whose parts change in full.

    Args:
        labels: [B, P, h, w] in 0..1.
        selection: [P, L] in 0..1.
        rows: that may change.
        threshold: of the edit's masks.

    Returns:
        [B, 1, h, w] in 0..1 each; None where no part changes.
    """
    weights = cut_faint(selection.detach(), threshold).to(labels)
    weights = weights / weights.amax(dim=0).clamp(min=1e-6)
    acts = (weights.amax(dim=0) > 0).tolist()
    masks = ((labels * part[:, None, None]).sum(dim=1, keepdim=True).clamp(0, 1) for part in weights.t())
    return [mask if row in rows and acts[row] else None for row, mask in enumerate(masks)]


def cut_faint(mask: Tensor, threshold: float) -> Tensor:
    """Set a mask to 0 up to a threshold, from which it rises faster: the edge stays soft, a full mask stays full.

    The gradient is the same on both sides, that of opening it: what was closed in a training may open again.

    Args:
        mask: [B, 1, h, w] in 0..1.
        threshold: in 0..1, below 1.
    """
    if threshold <= 0:
        return mask
    risen = (mask - threshold) / (1 - threshold)
    return risen + (risen.detach().clamp(min=0) - risen.detach()) if risen.requires_grad else risen.clamp(min=0)


def reach_masks(
    edit: TextEdit,
    masks: Sequence[Tensor | None],  # of the L rows, as `row_masks`
    parts: PartLabels | None,  # of these pictures, where the edit selects parts
) -> Sequence[Tensor | None]:
    """Return masks of the L rows that tell where an edit acts at all, for `KeepOutside`: one value wherever they reach.

    Chosen parts are taken whole, at the labels' size: at a coarse layer a small part is a fraction of a cell. With
    attention there is nothing finer than the rows' own masks.
    """
    if edit.selection is None or edit.attention is not None:
        return masks
    labels = torch.stack([parts.part(name) for name in edit.parts], dim=1).float()
    regions = selected_regions(labels, edit.selection.to(labels), edit.rows, edit.threshold)
    if edit.region is None and edit.extra is None:
        return regions
    size, drawn = labels.shape[-2:], []
    for row, region in enumerate(regions):
        if region is not None and edit.region is not None:
            region = region * resized_mask(edit.region[None, None].to(region), size)
        drawn.append(_with_extra(edit, region, size, labels) if row in edit.rows else None)
    return drawn


def layer_blend(
    edit: TextEdit,
    codes: Tensor,  # [B, L, D], before the edit
    masks: Sequence[Tensor | None],  # of the L rows, [B or 1, 1, h, w] in 0..1
    alpha: Tensor | float = 1.0,  # strength, one number or [B]
) -> LayerBlend:
    """Return the blend by which a synthesis paints the edit inside its masks."""
    return LayerBlend(edit.changed(codes, alpha), masks)


def _attention_masks(
    edit: TextEdit, generator: GanGenerator, codes: Tensor, options: SynthesisOptions
) -> dict[int, Tensor]:
    """Compute the attention of the layers of the edit's rows, [B, 1, h, w] each, from the unedited features."""
    last = len(generator.network.synthesis.layers) - 1
    layers = {min(row, last) for row in edit.rows}
    with torch.no_grad():
        options = replace(options, want_features=layers, stop_layer=max(layers))
        run = generator.network.synthesis(codes, options)
        network = on_device_of(edit.attention, codes)
        return {layer: network(layer, features) for layer, features in run.features.items()}


def _row_mask(
    edit: TextEdit,
    row: int,
    layer: int,
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    parts: PartLabels | None,
    attention: Mapping[int, Tensor],  # layer -> [B, 1, h, w]
) -> Tensor | None:
    """Multiply the factors of one row's mask, [B or 1, 1, h, w]; None where the row shows nothing."""
    if row not in edit.rows:
        return None
    size = generator.network.synthesis.layer_size(layer)[1:]
    mask = torch.ones(1, 1, 1, 1, device=codes.device, dtype=codes.dtype)
    if edit.selection is not None:
        weights = edit.selection[:, row].to(codes)
        if float(weights.max()) <= edit.threshold:
            return _with_extra(edit, None, size, codes)
        labels = torch.stack([parts.part(name) for name in edit.parts], dim=1).to(codes)
        mask = selected_mask(labels, weights, size)
    if attention:
        mask = mask * attention[layer].to(codes)
    mask = cut_faint(mask, edit.threshold)
    if edit.region is not None:
        mask = resized_mask(mask, size) * resized_mask(edit.region[None, None].to(codes), size)
    return _with_extra(edit, mask, size, codes)


def _with_extra(edit: TextEdit, mask: Tensor | None, size: Sequence[int], like: Tensor) -> Tensor | None:
    """Add the region in which the edit shows whatever else says."""
    if edit.extra is None:
        return mask
    extra = resized_mask(edit.extra[None, None].to(like), size)
    return extra if mask is None else torch.maximum(resized_mask(mask, size), extra)
