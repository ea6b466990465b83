"""Directional CLIP score (StyleGAN-NADA, 2108.00946): from one sentence to another, as a direction of the scorer's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.scorers.scorer import TextImageScorer

__all__ = ["sentence_direction"]

_SAME = 1e-3  # sentences whose unit vectors are nearer say the same


def sentence_direction(scorer: TextImageScorer, prompt: str, source: str) -> Tensor:
    """Return the unit vector [D] from what a picture shows to what it shall show.

    Its product with a picture's features is how well the picture fits one sentence rather than the other, -1..1.

    Args:
        prompt: what the edit asks for.
        source: what the pictures show now, in few words.

    Raises:
        InputError: when a sentence is empty, or the scorer cannot tell one from the other.
    """
    if not prompt.strip() or not source.strip():
        raise InputError("The sentence and the source have to be written out, as in 'a person with glasses'.")
    target, start = scorer.encode_text([prompt])[0], scorer.encode_text([source])[0]
    if float((target - start).norm()) < _SAME:
        raise InputError(f"The scorer sees no difference between '{prompt}' and '{source}'; describe a change.")
    return F.normalize(target - start, dim=0)
