"""Features that a StyleGAN2 block turns into wanted colours, whatever the style of its ToRGB.

A ToRGB is linear in the features, and its weights depend on the picture's code. Features taken from a picture with
another code would come out in wrong colours; the smallest change of the features that repairs it is a closed form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels import upsample2d

__all__ = ["donor_features"]

_RIDGE = 1e-4  # of the mean strength of the three colours


def donor_features(
    synthesis,  # of a StyleGAN2
    codes: Tensor,  # [B, L, D] of the picture that the features will be put into
    donor_codes: Tensor,  # [B, L, D] of the picture they come from
    features: dict[int, Tensor],  # layer -> [B, C, h, w] of the donor
    image: Tensor | None,  # [B, 3, h, w] of the picture so far, before the ToRGB that follows the first of the layers
    donor_image: Tensor | None,  # the same of the donor
) -> dict[int, Tensor]:
    """``features`` changed where a ToRGB reads them, so that put into the picture they give the donor's colours.

    A block is corrected only where what comes after it is the donor's too, or nothing comes: its correction is not
    meant for the next convolution. Colours that an earlier block has added already are made up for.
    """
    result = dict(features)
    first = True
    for layer in sorted(features):
        index, name = synthesis.layers[layer]
        block = synthesis.block(index)
        if name != "conv1" or not block.has_rgb:
            continue
        x = features[layer]
        if layer + 1 < len(synthesis.layers) and layer + 1 not in features:
            continue
        wanted = block.torgb(x, donor_codes[:, layer + 1])
        if first and image is not None and donor_image is not None:
            wanted = wanted + upsample2d(donor_image - image, block.resample_filter)
        first = False
        here = block.torgb(x, codes[:, layer + 1])
        result[layer] = x + _smallest_change(block.torgb, codes[:, layer + 1], wanted - here)
    return result


def _smallest_change(torgb, w: Tensor, missing: Tensor) -> Tensor:
    """[B, C, h, w] of least norm that the ToRGB turns into ``missing`` [B, 3, h, w]."""
    styles = torgb.affine(w) * torgb.weight_gain  # [B, C]
    matrix = torgb.weight[:, :, 0, 0] * styles[:, None]  # [B, 3, C]
    gram = matrix @ matrix.transpose(1, 2)
    strength = gram.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    mix = torch.linalg.solve(gram + _RIDGE * strength * eye, missing.flatten(2))  # [B, 3, h w]
    return (matrix.transpose(1, 2) @ mix).unflatten(2, missing.shape[2:])
