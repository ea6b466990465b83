"""Sheets of unit activations: where the strongest units of a concept fire, in the pictures in which they fire most."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ..common.pictures import to_rgb
from .concepts import ConceptUnits

__all__ = ["picture_units"]

_DIM = 0.25  # how much is left of what lies outside of a unit's activation
_GAP = 2  # px
_PER_PASS = 16  # pictures


def picture_units(
    generator: GanGenerator,
    concepts: ConceptUnits,
    codes: Tensor,
    units: int = 4,
    pictures: int = 6,
    size: int = 96,
) -> Tensor:
    """Draw a sheet for each concept: a row for each of its strongest units, and in it the pictures where the unit fires
    most, dark where it stays below its threshold.

    Args:
        generator: that was dissected.
        concepts: P of them.
        codes: [N, L, D] to choose from; a few dozen show enough.
        units: rows of a sheet.
        pictures: in a row, at most.
        size: the height of one picture, in pixels.

    Returns:
        [P, 3, H, W] in -1..1.

    Raises:
        InputError: codes of another generator.
    """
    generator.check_latent(codes, "", "The codes to show units with")
    images, features = _survey(generator, concepts.layer, codes)
    width = max(1, round(size * images.shape[3] / images.shape[2]))
    small = F.interpolate(images, (size, width), mode="bilinear", antialias=True, align_corners=False)
    sheets = []
    for p, name in enumerate(concepts.names):
        rows = []
        for unit in concepts.ranked(name, units):
            activation = features[:, unit : unit + 1]
            strongest = activation.amax(dim=(1, 2, 3)).argsort(descending=True)[: min(pictures, len(images))]
            field = F.interpolate(activation[strongest], (size, width), mode="bilinear", align_corners=False)
            lit = (field > concepts.threshold[p, unit].to(field)).float()
            dimmed = (small[strongest] + 1) * (_DIM + (1 - _DIM) * lit) - 1
            rows.append(F.pad(dimmed, (_GAP,) * 4, value=1.0))
        sheets.append(rearrange(torch.stack(rows), "units n c h w -> c (units h) (n w)"))
    return torch.stack(sheets)


def _survey(generator: GanGenerator, layer: int, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Draw codes [N, L, D]: pictures [N, 3, H, W] in -1..1 and features [N, C, h, w], on the CPU."""
    images, features = [], []
    with torch.no_grad():
        for batch in codes.to(generator.device).split(_PER_PASS):
            result = generator.network.synthesis(batch, SynthesisOptions(want_features=(layer,)))
            images.append(to_rgb(result.image).clamp(-1, 1).cpu())
            features.append(result.features[layer].float().cpu())
    return torch.cat(images), torch.cat(features)
