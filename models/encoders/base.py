"""What every encoder offers: checked pictures in, codes of W+ out."""

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
        """Codes [B, L, D] of pictures [B, 3, H, W] in -1..1 for ``generator``, a few pictures at a time.

        Raises InputError when the encoder was trained for another generator.
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
            parts = [self.codes_of(part.to(like), generator) for part in pictures.split(self.per_pass)]
        return torch.cat(parts)

    def codes_of(self, pictures: Tensor, generator: GanGenerator) -> Tensor:
        """[B, 3, H, W] -> [B, L, D]; for encoders that need nothing from the generator."""
        return self(pictures)
