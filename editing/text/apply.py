"""Painting a text edit: any batch of codes, each picture with its own strength and its own masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import KeepOutside, effective_mask
from ...models.gan.synthesis_run import SynthesisOptions
from ..common.part_labels import PartLabels
from .edit import TextEdit, blend_of, check_edit, row_masks

__all__ = ["TextEdited", "all_masks", "apply_text_edit", "smoothed_over_time"]


@dataclass(frozen=True, eq=False)
class TextEdited:
    """``images`` [B, 3, H, W] about -1..1; ``masks`` [B, h, w]: the largest mask of any row at every place."""

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
    chunk: int = 4,
    progress: Callable[..., None] | None = None,
) -> TextEdited:
    """Paint ``edit`` into the pictures of ``codes``.

    Raises InputError for an edit of another generator, parts that are missing or of another batch, and strengths that
    are not one per picture.
    """
    check_edit(edit, generator, codes, parts)
    codes = codes.to(generator.device)
    alpha = torch.as_tensor(alpha, dtype=codes.dtype, device=codes.device).reshape(-1)
    if alpha.shape[0] not in (1, len(codes)):
        raise InputError(f"There are {alpha.shape[0]} strengths for {len(codes)} pictures; expected one per picture.")
    alpha = alpha.expand(len(codes))
    photos = _photos(generator, codes)
    masks = all_masks(edit, generator, codes, parts, noise, chunk)
    if frames > 0:
        masks = [None if mask is None else smoothed_over_time(mask, frames) for mask in masks]
    images, layers = [], range(len(generator.network.synthesis.layers))
    with torch.no_grad():
        for start in range(0, len(codes), chunk):
            here = slice(start, start + chunk)
            some = [_some(mask, here) for mask in masks]
            blend = blend_of(edit, codes[here], some, alpha[here])
            hook, own_photos = None, None if photos is None else photos[here]
            if edit.keeps_outside:
                plain = generator.network.synthesis(
                    codes[here],
                    SynthesisOptions(noise=noise, want_features=layers, first_index=start, photos=own_photos),
                )
                hook = KeepOutside(some, plain.features)
            run = generator.network.synthesis(
                codes[here], SynthesisOptions(noise=noise, first_index=start, blend=blend, hook=hook, photos=own_photos)
            )
            images.append(run.image)
            if progress is not None:
                progress(min(start + chunk, len(codes)), len(codes), images[-1][-1] * 0.5 + 0.5)
    reach = effective_mask(masks, generator.resolution)[:, 0].to(codes)
    return TextEdited(torch.cat(images), reach.expand(len(codes), -1, -1))


def smoothed_over_time(masks: Tensor, sigma: float) -> Tensor:
    """Masks [B, 1, h, w] of B frames, averaged over neighbours with a Gaussian; the ends count for themselves."""
    if len(masks) == 1:
        return masks
    places = torch.arange(len(masks), dtype=masks.dtype, device=masks.device)
    weights = torch.exp(-0.5 * ((places[:, None] - places) / sigma) ** 2)
    return torch.einsum("ab,bchw->achw", weights / weights.sum(dim=1, keepdim=True), masks)


def all_masks(
    edit: TextEdit,
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    parts: PartLabels | None = None,  # of these pictures, where the edit selects parts
    noise: str | int = "constant",
    chunk: int = 4,
) -> list[Tensor | None]:
    """The masks of every row, as `row_masks`, of any number of pictures; attention looks at ``chunk`` at a time."""
    check_edit(edit, generator, codes, parts)
    photos = _photos(generator, codes)
    rows: list[list[Tensor | None]] = []
    for start in range(0, len(codes), chunk):
        here = slice(start, start + chunk)
        labels = None
        if parts is not None:
            labels = PartLabels(parts.masks if len(parts) == 1 else parts.masks[here], parts.names)
        own = None if photos is None else photos[here]
        rows.append(row_masks(edit, generator, codes[here], labels, noise, start, own))
    merged: list[Tensor | None] = []
    for row in zip(*rows, strict=True):
        if row[0] is None:
            merged.append(None)
        else:
            sizes = [len(codes[k * chunk : (k + 1) * chunk]) for k in range(len(row))]
            merged.append(torch.cat([mask.expand(size, -1, -1, -1) for mask, size in zip(row, sizes, strict=True)]))
    return merged


def _photos(generator: GanGenerator, codes: Tensor) -> Tensor | None:
    """Of an adapted generator, whose photo each code is, [B]: that is seen from the whole batch."""
    return generator.network.photos_of(codes)


def _some(mask: Tensor | None, here: slice) -> Tensor | None:
    return None if mask is None else mask if len(mask) == 1 else mask[here]
