"""A reader of sentences: the directional CLIP score (StyleGAN-NADA, 2108.00946) as the state of a picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...models.scorers.scorer import TextImageScorer
from ..common.sentence_direction import sentence_direction
from .picture_noise import with_measured_noise
from .reader import StateReader, digest_of

__all__ = ["reader_from_sentence"]

SCALE = 100.0  # cosines are small: readings are hundredths


def reader_from_sentence(
    scorer: TextImageScorer,
    prompt: str,
    source: str = "a photo",
    pictures: Tensor | None = None,
    ready: Callable[[], None] = lambda: None,
) -> StateReader:
    """Build the reader of how well pictures fit one sentence rather than another, in hundredths of a cosine.

    Args:
        prompt: what is read, such as "a smiling person".
        source: the opposite, or what the pictures are without it, such as "a serious person".
        pictures: [N, 3, H, W] in -1..1, on which the noise is measured; None: it stays 0.
        ready: called before each use of the scorer: other models may have pushed it out of the memory.

    Raises:
        InputError: a sentence is empty, or the scorer cannot tell one from the other.
    """
    ready()
    direction = sentence_direction(scorer, prompt, source)

    def read(batch: Tensor) -> Tensor:
        ready()
        with torch.no_grad():
            features = scorer.encode_images(batch.to(scorer.device))
        return SCALE * (features @ direction.to(features))[:, None]

    key = digest_of(prompt, source, direction)
    reader = StateReader(read, (prompt,), ("cosine / 100",), kind=f"sentence, read by {scorer.name}", key=key)
    return reader if pictures is None else with_measured_noise(reader, pictures)
