"""Pictures of units: where the strongest units of a concept fire, in the pictures in which they fire most."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ..common.pictures import to_rgb
from .concepts import ConceptUnits

__all__ = ["picture_units"]

_DIM = 0.25  # how much is left of what lies outside of a unit's activation
_GAP = 2  # px


def picture_units(
    generator: GanGenerator,
    concepts: ConceptUnits,
    codes: Tensor,  # [N, L, D] to choose from; a few dozen show enough
    units: int = 4,
    pictures: int = 6,
    size: int = 96,  # px, the height of one picture
) -> Tensor:
    """[P, 3, H, W] in -1..1: for each concept a sheet, a row for each of its strongest units, and in it the pictures
    where the unit fires most, dark where it stays below its threshold."""
    generator.check_latent(codes, "", "The codes to show units with")
    images, features = [], []
    with torch.no_grad():
        for part in codes.to(generator.device).split(16):
            result = generator.network.synthesis(part, SynthesisOptions(want_features=(concepts.layer,)))
            images.append(to_rgb(result.image).clamp(-1, 1).cpu())
            features.append(result.features[concepts.layer].float().cpu())
    images, features = torch.cat(images), torch.cat(features)
    width = max(1, round(size * images.shape[3] / images.shape[2]))
    small = F.interpolate(images, (size, width), mode="bilinear", antialias=True, align_corners=False)
    count = min(pictures, len(images))
    sheets = []
    for p, name in enumerate(concepts.names):
        rows = []
        for unit in concepts.ranked(name, units):
            activation = features[:, unit : unit + 1]
            strongest = activation.amax(dim=(1, 2, 3)).argsort(descending=True)[:count]
            field = F.interpolate(activation[strongest], (size, width), mode="bilinear", align_corners=False)
            lit = (field > concepts.threshold[p, unit].to(field)).float()
            shown = (small[strongest] + 1) * (_DIM + (1 - _DIM) * lit) - 1
            rows.append(torch.cat(list(F.pad(shown, (_GAP,) * 4, value=1.0)), dim=2))
        sheets.append(torch.cat(rows, dim=1))
    return torch.stack(sheets)
