"""Reading portraits: their factors, by the oracle, and who they are, by the identity embedding.

Both networks were trained on renders of their own, apart from anything that makes or edits pictures. They grade; no
optimiser may ever see them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.errors import InputError
from .assets import reader
from .portraits.factors import denormalised

_CHUNK = 64


def measure(pictures: Tensor) -> dict[str, Tensor]:
    """Factors ``{name: [B]}`` of portraits ``[B, 3, H, W]`` in -1..1, any size from 32 pixels, in the factors' ranges.

    ``hat_hue`` means nothing where ``hat`` is below 0.5. Runs on the CPU; the result is there.
    """
    return denormalised(_read("oracle", pictures))


def identity(pictures: Tensor) -> Tensor:
    """Unit vectors ``[B, 64]``: near for the same person under another pose, expression or glasses.

    Their dot product is the similarity, from -1 to 1.
    """
    return F.normalize(_read("identity", pictures), dim=1)


def _read(kind: str, pictures: Tensor) -> Tensor:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[-2:]) < 32:
        raise InputError(f"The pictures have shape {list(pictures.shape)}; expected [B, 3, H, W] of 32 pixels or more.")
    network = reader(kind)
    with torch.no_grad():
        pieces = [network(piece.to("cpu", torch.float32).clamp(-1, 1)) for piece in pictures.split(_CHUNK)]
    return torch.cat(pieces) if pieces else pictures.new_zeros(0, network.config.outputs)
