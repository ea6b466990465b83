"""Applying a text edit to any batch of codes, each picture with its own strength and its own masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import KeepOutside, effective_mask
from ...models.gan.synthesis_run import SynthesisOptions
from ..common.frames import smooth_over_time
from ..common.part_labels import PartLabels
from ..common.progress import Progress, silent
from .edit import TextEdit, check_edit
from .masks import layer_blend, reach_masks, row_masks

__all__ = ["AppliedTextEdit", "apply_text_edit", "row_masks_in_chunks"]


@dataclass(frozen=True, eq=False)
class AppliedTextEdit:
    """Edited pictures.

    Args:
        images: [B, 3, H, W] about -1..1.
        masks: [B, H, W] in 0..1, the largest mask of any row at every pixel.
    """

    images: Tensor
    masks: Tensor


def apply_text_edit(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    edit: TextEdit,
    parts: PartLabels | None = None,  # of these pictures, where the edit selects parts
    alpha: Tensor | float = 1.0,  # one number, or [B]; below 0: the opposite
    noise: str | int = "constant",
    frames: float = 0.0,  # the batch is a film: masks are averaged over neighbours, standard deviation in frames
    chunk: int = 4,  # pictures that are drawn at once
    progress: Progress | None = None,  # counts pictures; previews [3, H, W] in 0..1
) -> AppliedTextEdit:
    """Paint ``edit`` into the pictures of ``codes``.

    Raises:
        InputError: an edit of another generator, parts that are missing or of another batch, or strengths that are not
            one per picture.
    """
    check_edit(edit, generator, codes, parts)
    progress = progress or silent
    codes = codes.to(generator.device)
    alpha = torch.as_tensor(alpha, dtype=codes.dtype, device=codes.device).reshape(-1)
    if alpha.shape[0] not in (1, len(codes)):
        raise InputError(f"There are {alpha.shape[0]} strengths for {len(codes)} pictures; expected one per picture.")
    alpha = alpha.expand(len(codes))
    photos = generator.network.photos_of(codes)  # whose photo a code is, is seen from the whole batch
    masks = row_masks_in_chunks(edit, generator, codes, parts, noise, chunk)
    if frames > 0:
        masks = [None if mask is None else smooth_over_time(mask, frames) for mask in masks]
    images = []
    with torch.no_grad():
        for start in range(0, len(codes), chunk):
            batch = slice(start, start + chunk)
            options = SynthesisOptions(noise=noise, first_index=start, photos=None if photos is None else photos[batch])
            batch_masks = [_mask_of_batch(mask, batch) for mask in masks]
            # A film's masks reach farther than its frames' own parts.
            reach = batch_masks if frames > 0 else reach_masks(edit, batch_masks, _labels_of_batch(parts, batch))
            images.append(_draw_edited(generator, codes[batch], edit, batch_masks, reach, alpha[batch], options))
            progress(min(start + chunk, len(codes)), len(codes), images[-1][-1] * 0.5 + 0.5)
    largest = effective_mask(masks, generator.resolution)[:, 0].to(codes)
    return AppliedTextEdit(torch.cat(images), largest.expand(len(codes), -1, -1))


def _draw_edited(
    generator: GanGenerator,
    codes: Tensor,
    edit: TextEdit,
    masks: Sequence[Tensor | None],
    reach: Sequence[Tensor | None],  # masks beyond which the picture stays
    alpha: Tensor,
    options: SynthesisOptions,
) -> Tensor:
    """Draw codes [B, L, D] with the edit inside the masks of the L rows: [B, 3, H, W]."""
    synthesis = generator.network.synthesis
    options = replace(options, blend=layer_blend(edit, codes, masks, alpha))
    if edit.keeps_outside:
        unedited = synthesis(codes, replace(options, blend=None, want_features=range(len(synthesis.layers))))
        options = replace(options, hook=KeepOutside(reach, unedited.features))
    return synthesis(codes, options).image


def row_masks_in_chunks(
    edit: TextEdit,
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    parts: PartLabels | None = None,  # of these pictures, where the edit selects parts
    noise: str | int = "constant",
    chunk: int = 4,
) -> list[Tensor | None]:
    """Compute the masks of every row, as `row_masks`, of any number of pictures; attention reads ``chunk`` at a time.

    Raises:
        InputError: as `row_masks`.
    """
    check_edit(edit, generator, codes, parts)
    photos = generator.network.photos_of(codes)  # whose photo a code is, is seen from the whole batch
    chunks: list[list[Tensor | None]] = []
    for start in range(0, len(codes), chunk):
        batch = slice(start, start + chunk)
        labels = _labels_of_batch(parts, batch)
        batch_photos = None if photos is None else photos[batch]
        chunks.append(row_masks(edit, generator, codes[batch], labels, noise, start, batch_photos))
    sizes = [len(codes[start : start + chunk]) for start in range(0, len(codes), chunk)]
    return [_concatenate(row, sizes) for row in zip(*chunks, strict=True)]


def _concatenate(masks: Sequence[Tensor | None], sizes: Sequence[int]) -> Tensor | None:
    """Join one row's masks [b or 1, 1, h, w] of several chunks of pictures; None where the row shows nothing."""
    if masks[0] is None:
        return None
    return torch.cat([mask.expand(size, -1, -1, -1) for mask, size in zip(masks, sizes, strict=True)])


def _labels_of_batch(parts: PartLabels | None, batch: slice) -> PartLabels | None:
    """Return the part labels of some of the pictures."""
    return parts if parts is None or len(parts) == 1 else PartLabels(parts.masks[batch], parts.names)


def _mask_of_batch(mask: Tensor | None, batch: slice) -> Tensor | None:
    return None if mask is None else mask if len(mask) == 1 else mask[batch]
