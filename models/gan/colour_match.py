"""Colour matching: the smallest change of features under which a StyleGAN2 block gives the colours of their donor.

A ToRGB is linear in the features, and its weights depend on the picture's code. Features taken from a picture with
another code would come out in wrong colours; the smallest change of the features that repairs it is a closed form.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import rearrange
from torch import Tensor

from ...kernels import upsample2d

__all__ = ["donor_features"]

_RIDGE = 1e-4  # of the mean strength of the three colours


def donor_features(
    synthesis,
    codes: Tensor,
    donor_codes: Tensor,
    features: Mapping[int, Tensor],
    image: Tensor | None,
    donor_image: Tensor | None,
) -> dict[int, Tensor]:
    """Change features where a ToRGB reads them, so that put into another picture they give the donor's colours.

    A block is corrected only where what comes after it is the donor's too, or nothing comes: its correction is not
    meant for the next convolution. Colours that an earlier block has added already are made up for.

    Args:
        synthesis: of a StyleGAN2.
        codes: [B, L, D] of the picture that the features will be put into.
        donor_codes: [B, L, D] of the picture they come from.
        features: layer -> [B, C, h, w] of the donor.
        image: [B, 3, h, w] of the picture so far, before the ToRGB that follows the first of the layers; or None.
        donor_image: the same of the donor.

    Returns:
        layer -> [B, C, h, w].
    """
    matched = dict(features)
    first = True
    for layer, x in sorted(features.items()):
        index, name = synthesis.layers[layer]
        block = synthesis.block(index)
        if name != "conv1" or not block.has_rgb:
            continue
        if layer + 1 < len(synthesis.layers) and layer + 1 not in features:
            continue
        target = block.torgb(x, donor_codes[:, layer + 1])
        if first and image is not None and donor_image is not None:
            target = target + upsample2d(donor_image - image, block.resample_filter)
        first = False
        rgb = block.torgb(x, codes[:, layer + 1])
        matched[layer] = x + _smallest_change(block.torgb, codes[:, layer + 1], target - rgb)
    return matched


def _smallest_change(torgb, w: Tensor, missing: Tensor) -> Tensor:
    """Return the change [B, C, h, w] of least norm that a ToRGB turns into missing colours [B, 3, h, w].

    x = A^T (A A^T + ridge)^-1 b, with A [B, 3, C] the ToRGB's matrix under a row w [B, D].
    """
    styles = torgb.affine(w) * torgb.weight_gain  # [B, C]
    weight = rearrange(torgb.weight, "rgb c 1 1 -> rgb c")
    matrix = weight * rearrange(styles, "b c -> b 1 c")
    gram = matrix @ matrix.mT  # [B, 3, 3]
    strength = rearrange(gram.diagonal(dim1=1, dim2=2).mean(dim=1), "b -> b 1 1")
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    mix = torch.linalg.solve(gram + _RIDGE * strength * eye, rearrange(missing, "b rgb h w -> b rgb (h w)"))
    return rearrange(matrix.mT @ mix, "b c (h w) -> b c h w", h=missing.shape[2])
