"""Base class of the encoders: checked pictures in, codes of W+ out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..gan.generator import GanGenerator


class PictureEncoder(nn.Module):
    """Base of the encoders: subclasses have ``config`` (``num_layers``, ``w_dim``), ``family`` and ``forward``."""

    family: str
    per_pass = 64  # pictures at a time

    def encode(self, pictures: Tensor, generator: GanGenerator) -> Tensor:
        """Predict codes, a few pictures at a time.

        Args:
            pictures: [B, 3, H, W] in -1..1.
            generator: the one that the codes are for.

        Returns:
            Codes [B, L, D].

        Raises:
            InputError: when the encoder was trained for another generator, or the pictures have another shape.
        """
        if self.family and generator.family and self.family != generator.family:
            raise InputError(
                f"This encoder belongs to the generator family '{self.family}', the generator is of "
                f"'{generator.family}'. Choose the encoder that was trained for this generator."
            )
        shape = (self.config.num_layers, self.config.w_dim)
        if shape != (generator.num_layers, generator.w_dim):
            raise InputError(
                f"This encoder gives codes {list(shape)}, the generator expects "
                f"{[generator.num_layers, generator.w_dim]}. Choose the encoder that was trained for this generator."
            )
        if pictures.ndim != 4 or pictures.shape[1] != 3 or 0 in pictures.shape:
            raise InputError(f"The pictures have shape {list(pictures.shape)}; expected [B, 3, H, W].")
        like = next(self.parameters())
        with torch.no_grad():
            codes = [self.encode_batch(batch.to(like), generator) for batch in pictures.split(self.per_pass)]
        return torch.cat(codes)

    def encode_batch(self, pictures: Tensor, generator: GanGenerator) -> Tensor:
        """Predict codes [B, L, D] of [B, 3, H, W]; subclasses that need the generator override it."""
        return self(pictures)
