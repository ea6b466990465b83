"""Layer-wise blending of two codes in one picture, where masks say so (CoralStyleCLIP, 2303.05031).

Both branches of a layer read the mixed features of the layer before:

    e_l = layer_l(f_{l-1}, edited row l),   p_l = layer_l(f_{l-1}, plain row l),   f_l = m_l e_l + (1 - m_l) p_l

and the colours of a block are mixed in the same way, or an edit of colour would leak out of its mask. A mask belongs
to a row of W+: wherever the row is used, in a convolution or in the colours after it, its mask decides. Both branches
share noise and weights, so they run as one batch, or one after the other where a graph would hold their input twice;
where a mask is 0 or 1 everywhere one branch is enough, so the layers before the first edited one cost nothing extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...kernels import blend_features
from ..errors import InputError

__all__ = ["KeepOutside", "LayerBlend", "effective_mask", "resized_mask"]

_MARGIN = 1 / 32  # of the picture around every mask: the edge of what was there may go, or it stays as a line
_FAINTEST = 0.02  # a mask whose largest value is below it reaches nowhere in full
Layer = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (features, row of W+, noise) -> features


@dataclass(frozen=True, eq=False)
class LayerBlend:
    """The codes of the edited branch, and where each of its rows shows.

    Args:
        edited: [B, L, D], the codes of the edited branch.
        masks: L masks, [B or 1, 1, h, w] in 0..1 of any size (resized to the layer), or None: this row stays plain.

    Raises:
        InputError: another number of masks than rows, or a mask of another shape.
    """

    edited: Tensor
    masks: Sequence[Tensor | None]

    def __post_init__(self) -> None:
        if self.edited.ndim != 3:
            raise InputError(f"The edited codes have shape {tuple(self.edited.shape)}; expected [B, L, D].")
        batch, rows = self.edited.shape[:2]
        if len(self.masks) != rows:
            raise InputError(f"There are {len(self.masks)} masks for {rows} rows of W+; one each is needed.")
        for row, mask in enumerate(self.masks):
            if mask is not None and (mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[0] not in (1, batch)):
                raise InputError(
                    f"The mask of row {row} has shape {tuple(mask.shape)}; expected [{batch} or 1, 1, h, w]."
                )
        object.__setattr__(self, "masks", tuple(_none_where_empty(mask) for mask in self.masks))

    def run(self, row: int, layer: Layer, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Run one layer of both branches and mix them.

        Args:
            row: of W+.
            layer: (features, row of W+, noise) -> features.
            x: [B, C, h, w], the mixed features so far.
            w: [B, D], the plain row.
            noise: [B or 1, 1, h, w], or None.

        Returns:
            [B, C, h, w].
        """
        mask = self.masks[row]
        if mask is None:
            return layer(x, w, noise)
        edited = self.edited[:, row].to(w)
        if not mask.requires_grad and bool(mask.amin() >= 1):
            return layer(x, edited, noise)
        if torch.is_grad_enabled() and (x.requires_grad or edited.requires_grad or mask.requires_grad):
            plain, changed = layer(x, w, noise), layer(x, edited, noise)
        else:
            twice = None if noise is None else noise if noise.shape[0] == 1 else torch.cat([noise, noise])
            plain, changed = layer(torch.cat([x, x]), torch.cat([w, edited]), twice).chunk(2)
        return blend_features(plain, changed, resized_mask(mask, changed.shape[-2:]).to(changed.dtype))


class KeepOutside:
    """A synthesis hook: where no row's mask reaches, every layer's features are the unedited picture's.

    Without it an edit leaks out of its masks: a coarse layer's cell is an eighth of the picture, and every convolution
    after it looks at neighbours. Only where a mask reaches counts, not its value, which the layer was mixed by already:
    mixed by it at every layer again, half an edit would be an eighth. A layer may change where masks of the rows up to
    its own reach: what a later row changes has no trace in it yet.
    """

    mask = None  # it paints nothing: an adaptation's details follow the features
    box = None

    def __init__(
        self,
        masks: Sequence[Tensor | None],  # of the L rows, [B or 1, 1, h, w] in 0..1 of any size
        unedited: Mapping[int, Tensor],  # features of the plain codes, layer -> [B, C, h, w]
    ) -> None:
        self.unedited, self.layers = unedited, unedited.keys()
        self._sizes = {layer: tuple(features.shape[-2:]) for layer, features in unedited.items()}
        self._inside = self._insides(masks)

    def _insides(self, masks: Sequence[Tensor | None]) -> dict[int, Tensor]:
        """Return where each layer may change, at its own size: layer -> [B or 1, 1, h, w] in 0..1."""
        largest, added, insides = self._sizes[max(self._sizes)], None, {}
        union = grown = torch.zeros(1, 1, *largest)
        for layer in range(max(self._sizes) + 1):
            mask = masks[layer]
            key = None if mask is None else (mask.data_ptr(), mask.shape)
            if key not in (None, added):
                reach = resized_mask(_reach(mask.float()), largest)
                added, union = key, torch.maximum(union.to(reach), reach)
                grown = _grown(union, round(max(largest) * _MARGIN))
            if layer in self._sizes:  # a cell of a coarse layer counts as inside where any of it is
                insides[layer] = F.adaptive_max_pool2d(grown, self._sizes[layer])
        return insides

    def __call__(self, layer: int, features: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        inside = self._inside[layer].to(features)
        return torch.lerp(self.unedited[layer].to(features.dtype), features, inside.expand(len(features), -1, -1, -1))


def effective_mask(masks: Sequence[Tensor | None], size: Sequence[int]) -> Tensor:
    """Compute where a picture can change at all: the largest of all rows' masks at each pixel.

    Args:
        masks: of the rows, [B or 1, 1, h, w] in 0..1 of any size, or None.
        size: height and width of the result.

    Returns:
        [B or 1, 1, *size].
    """
    union = None
    for mask in masks:
        if mask is not None:
            resized = resized_mask(mask.float(), size)
            union = resized if union is None else torch.maximum(union, resized)
    return torch.zeros(1, 1, *size) if union is None else union


def _grown(mask: Tensor, margin: int) -> Tensor:
    """Grow a mask [B, 1, h, w] by a margin in pixels, along one axis after the other."""
    for size, padding in (((2 * margin + 1, 1), (margin, 0)), ((1, 2 * margin + 1), (0, margin))):
        mask = F.max_pool2d(mask, size, 1, padding)
    return mask


def _reach(mask: Tensor) -> Tensor:
    """Return where a mask [B, 1, h, w] reaches: 1 where it is largest, soft where its edge is; without a gradient.

    A yes or no would not do: shrunk to a coarse layer, a mask has a faint edge of a whole cell.
    """
    mask = mask.detach()
    return mask / mask.amax(dim=(2, 3), keepdim=True).clamp(min=_FAINTEST)


def resized_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks: averaged when they get smaller, smooth when they grow.

    Args:
        mask: [B, C, h, w] in 0..1.
        size: height and width of the result.

    Returns:
        [B, C, *size] in 0..1.
    """
    if tuple(mask.shape[-2:]) == tuple(size):
        return mask
    return F.interpolate(mask, tuple(size), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def _none_where_empty(mask: Tensor | None) -> Tensor | None:
    """Return a mask [B, 1, h, w], or None for one that is 0 everywhere and not learned."""
    return None if mask is None or (not mask.requires_grad and bool(mask.amax() <= 0)) else mask
