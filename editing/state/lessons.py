"""Lessons: as an edit is drawn, its drawings teach the reader of its example; what was read before is read anew."""

from __future__ import annotations

import torch
from torch import Tensor

from .example import with_scale
from .reader import StateReader

__all__ = ["Lessons"]


class Lessons:
    """The features of every drawing so far, and the reader that they taught.

    The first drawings have to be the pictures before the edit, at strength 0.

    Args:
        reader: of an example; it is taught as soon as drawings are enough.
    """

    def __init__(self, reader: StateReader) -> None:
        self.reader = reader
        self.scale = reader.example.scale()
        self.features: list[Tensor] = []  # of each round [B, F]; NaN where a picture was not drawn

    def note(self, pictures: Tensor, drawn: Tensor, strengths: Tensor) -> tuple[Tensor, float]:
        """Take a round of drawings in, and learn.

        Args:
            pictures: [M, 3, H, W], what was drawn.
            drawn: [B] bool, whose pictures these are.
            strengths: [B, N], of all rounds with this one.

        Returns:
            Readings [B, N] of all rounds, and their noise.
        """
        rows = self.reader.example.of_pictures(pictures)
        features = rows.new_full((len(drawn), rows.shape[1]), torch.nan)
        features[drawn.to(rows.device)] = rows
        self.features.append(features)
        if len(self.features) > 1:
            unedited = self.features[0].repeat(len(self.features) - 1, 1)
            scale = self.reader.example.taught(unedited, torch.cat(self.features[1:]), strengths[:, 1:].T.reshape(-1))
            if scale is not None:
                self.scale, self.reader = scale, with_scale(self.reader, scale)
        return self.scale.read(torch.stack(self.features, dim=1)), self.scale.noise
