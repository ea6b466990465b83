"""A reader's own noise: how much its numbers change between pictures that show the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from .reader import StateReader, check_picture_batch, readings_of

__all__ = ["disturbed_copies", "measure_noise", "spread_of_changes", "tried_on", "with_measured_noise"]

DRAWS = 4
_SHIFT = 0.01  # of the picture's side, standard deviation
_ZOOM = 0.01
_GRAIN = 0.02  # of -1..1
_EXPOSURE = 0.03
_MOST_PICTURES = 16  # more say no more
_TO_DEVIATION = 1.4826  # from a median of absolute deviations


def disturbed_copies(pictures: Tensor, seed: int = 0) -> Tensor:
    """Draw copies of pictures [B, 3, H, W] in -1..1 that show the same: moved, zoomed, exposed and grained a little."""
    generator = torch.Generator().manual_seed(seed)
    count = len(pictures)
    theta = torch.zeros(count, 2, 3)
    zoom = 1 + _ZOOM * torch.randn(count, generator=generator)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = 2 * _SHIFT * torch.randn(count, 2, generator=generator)
    exposure = _EXPOSURE * torch.randn(count, 1, 1, 1, generator=generator)
    grain = _GRAIN * torch.randn(pictures.shape, generator=generator)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False).to(pictures)
    moved = F.grid_sample(pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return ((moved + 1) * (1 + exposure.to(moved)) - 1 + grain.to(moved)).clamp(-1, 1)


def measure_noise(
    read: Callable[[Tensor], Tensor],
    pictures: Tensor,  # [B, 3, H, W] in -1..1
    draws: int = DRAWS,
    seed: int = 0,
) -> Tensor:
    """Measure the standard deviation [K] of each reading between copies of a picture that show the same.

    It is robust: a copy that is misread, or cannot be read, does not decide.

    Args:
        read: a `StateReader` or any function, pictures -> [B] or [B, K].
        pictures: such as will be read; the first 16 are taken.
        draws: copies of each.

    Raises:
        InputError: none of the pictures can be read.
    """
    changes = tried_on(read, pictures, draws, seed)
    readable = torch.isfinite(changes).all(dim=1)
    if not bool(readable.any()):
        count = len(changes) // draws
        raise InputError(f"The reader can read none of the {count} pictures that its noise is measured on.")
    return spread_of_changes(changes[readable])


def tried_on(read: Callable[[Tensor], Tensor], pictures: Tensor, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """Return the changes [draws * B, K] of readings between pictures and their disturbed copies, as `measure_noise`."""
    check_picture_batch(pictures)
    pictures = pictures[:_MOST_PICTURES]
    readings = torch.stack([readings_of(read, disturbed_copies(pictures, seed + k)) for k in range(draws)])
    return (readings - readings_of(read, pictures)).flatten(0, 1)


def spread_of_changes(changes: Tensor) -> Tensor:
    """Return the standard deviation [K] of changes [N, K], by their median: a few wild ones do not decide."""
    return (_TO_DEVIATION * changes.abs().median(dim=0).values).float()


def with_measured_noise(reader: StateReader, pictures: Tensor, draws: int = DRAWS, seed: int = 0) -> StateReader:
    """Return the reader with its noise measured on pictures [B, 3, H, W]; arguments as in `measure_noise`."""
    return replace(reader, noise=measure_noise(reader, pictures, draws, seed))
