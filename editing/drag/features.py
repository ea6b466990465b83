"""Point tracking in the generator's features (DragGAN, 2305.10973): bilinear samples, nearest features, optical flow.

Positions are (x, y) in the picture's pixels, whatever the size of the feature map: sampling a bilinear enlargement is
the same as sampling the map, and needs no memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator

_STIFFNESS = 0.05  # of the mean slope: added to the flow's matrix


def feature_layer(generator: GanGenerator, ratio: float, height: int | None = None) -> int:
    """Return the last layer whose map has ``ratio`` of the picture's height, or the next larger one there is.

    DragGAN (2305.10973) reads the sixth block at every size: 128 px, half the height of a picture of 256 px. Later
    blocks of larger pictures have few channels and know edges, not parts.

    Args:
        generator: that is dragged.
        ratio: of the picture's height, above 0 up to 1.
        height: px, that it need not exceed; None: no such limit.

    Raises:
        InputError: a ratio or a height out of range.
    """
    if not 0 < ratio <= 1:
        raise InputError(f"The feature ratio is {ratio:g}; expected a share of the picture's height, above 0 up to 1.")
    if height is not None and height < 1:
        raise InputError(f"The feature height is {height}; expected a number of pixels, at least 1.")
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(k)[1] - 2 * synthesis.margin(k) for k in range(len(synthesis.layers))]
    least = min(ratio * heights[-1], math.inf if height is None else height)
    target = min(size for size in heights if size >= least - 1e-6)
    return max(layer for layer, size in enumerate(heights) if size == target)


def sample(
    features: Tensor,  # [1, C, h, w]
    points: Tensor,  # [..., 2] px
    size: tuple[int, int],  # height, width of the picture
) -> Tensor:
    """Sample features at points of the picture, bilinear: [..., C]."""
    height, width = size
    grid = points / points.new_tensor((width, height)) * 2 - 1
    values = F.grid_sample(
        features, grid.reshape(1, 1, -1, 2).to(features.dtype), "bilinear", "border", align_corners=False
    )
    return values[0, :, 0].t().reshape(*points.shape[:-1], -1)


def published_patch(radius: int) -> Tensor:
    """Return the offsets [K, 2] of whole pixels nearer than ``radius`` px, r1 of DragGAN; at least the middle."""
    offsets = disk(radius)
    return offsets[offsets.norm(dim=1) < radius] if radius > 0 else offsets


def disk(radius: float, spacing: float = 1.0) -> Tensor:
    """Return the offsets [K, 2] of a grid of ``spacing`` px within ``radius`` px of its middle; at least the middle."""
    count = int(radius / spacing + 1e-6)
    steps = torch.arange(-count, count + 1) * spacing
    offsets = torch.cartesian_prod(steps, steps).float()
    return offsets[offsets.norm(dim=1) <= radius + 1e-6]


def square(radius: float, spacing: float) -> Tensor:
    """Return the offsets [S, S, 2] of a grid of ``spacing`` px in a square of half side ``radius`` px, rows along y."""
    count = max(1, int(radius / spacing + 1e-6))
    steps = torch.arange(-count, count + 1).float() * spacing
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([xs, ys], dim=-1)


@dataclass(frozen=True, eq=False)
class Templates:
    """The features round each handle in the first picture.

    Args:
        features: [N, K, C].
        patch: [K, 2] px, offsets from the handle at which they were sampled.
        size: height, width of the picture.
    """

    features: Tensor
    patch: Tensor
    size: tuple[int, int]

    @classmethod
    def of(cls, features: Tensor, handles: Tensor, patch: Tensor, size: tuple[int, int]) -> Templates:
        """Sample the templates of handles [N, 2] at offsets ``patch`` [K, 2] in features [1, C, h, w]."""
        patch = patch.to(handles)
        return cls(sample(features, handles[:, None] + patch, size), patch, size)

    def misfit(self, features: Tensor, positions: Tensor) -> Tensor:
        """Return each handle's mean squared difference from its template.

        Args:
            features: [1, C, h, w].
            positions: [N, ..., 2] px, where each handle may be.

        Returns:
            [N, ...].
        """
        samples = sample(features, positions[..., None, :] + self.patch, self.size)
        templates = self.features.reshape(
            len(self.features), *[1] * (positions.ndim - 2), *self.features.shape[1:]
        )  # [N, 1, ..., K, C]
        return (samples - templates).square().mean(dim=(-1, -2))

    def track(
        self,
        features: Tensor,  # [1, C, h, w]
        near: Tensor,  # [N, 2] px: where each was, or is expected
        radius: float,  # px, half side of the square that is searched
        spacing: float,  # px between the candidates
        refine: bool = True,  # go below the spacing, by the parabola through the best candidate and its neighbours
    ) -> tuple[Tensor, Tensor]:
        """Return the positions [N, 2] that are most like the templates, inside the picture, and their misfit [N]."""
        offsets = square(radius, spacing).to(near)
        length = offsets.shape[0]
        misfit = self.misfit(features, near[:, None, None] + offsets)  # [N, S, S]
        limits = near.new_tensor((self.size[1], self.size[0]))
        best = misfit.flatten(1).argmin(dim=1)
        rows, columns = best // length, best % length
        positions, index = near + offsets[rows, columns], torch.arange(len(near), device=near.device)
        if refine:
            inner_rows, inner_columns = rows.clamp(1, length - 2), columns.clamp(1, length - 2)
            x = _vertex(*(misfit[index, rows, inner_columns + k] for k in (-1, 0, 1)))
            y = _vertex(*(misfit[index, inner_rows + k, columns] for k in (-1, 0, 1)))
            x, y = x * (columns == inner_columns), y * (rows == inner_rows)  # at the border there is no parabola
            positions = positions + torch.stack([x, y], dim=1) * spacing
        return positions.clamp(min=0).minimum(limits), misfit[index, rows, columns]

    def motion_weights(self, features: Tensor, positions: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
        """Solve the optical flow of Lucas and Kanade over the patch: how feature changes move the handles.

        Where a code changes the features by dF, a handle moves by the sum of weights * dF. The flow keeps a little
        stiffness, so that a handle on an edge does not slide along it.

        Args:
            features: [1, C, h, w].
            positions: [N, 2] px, of the handles.
            spacing: px, over which the features' slopes are taken.

        Returns:
            Weights [N, 2, K, C], and the points [N, K, 2] px at which dF is sampled.
        """
        points = positions[:, None] + self.patch
        half = 0.5 * spacing
        x, y = points.new_tensor((half, 0.0)), points.new_tensor((0.0, half))
        slopes = torch.stack(
            [
                (sample(features, points + step, self.size) - sample(features, points - step, self.size)) / (2 * half)
                for step in (x, y)
            ],
            dim=1,
        )  # [N, 2, K, C]
        gram = torch.einsum("nakc,nbkc->nab", slopes, slopes)
        stiffness = _STIFFNESS * gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-12)
        gram = gram + stiffness[:, None, None] * torch.eye(2).to(gram)
        return -torch.einsum("nab,nbkc->nakc", torch.linalg.inv(gram), slopes), points


def _vertex(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """Return where the parabola through three equally spaced values is lowest, within half a step."""
    bend = (left - 2 * middle + right).clamp(min=1e-12)
    return (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
