"""Looking at a point of a picture through the generator's features: sampling, following it, and how it would move.

Positions are (x, y) in the picture's pixels, whatever the size of the feature map: sampling a bilinear enlargement is
the same as sampling the map, and needs no memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator


def feature_layer(generator: GanGenerator, ratio: float) -> int:
    """The last layer whose map has ``ratio`` of the picture's height, or the next larger one there is.

    DragGAN (2305.10973) reads the sixth block, 128 px: half the height of a picture of 256 px.
    """
    if not 0 < ratio <= 1:
        raise InputError(f"The feature ratio is {ratio:g}; expected a share of the picture's height, above 0 up to 1.")
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(layer)[1] for layer in range(len(synthesis.layers))]
    wanted = min(height for height in heights if height >= ratio * heights[-1] - 1e-6)
    return max(layer for layer, height in enumerate(heights) if height == wanted)


def sample(features: Tensor, points: Tensor, size: tuple[int, int]) -> Tensor:
    """Features [1, C, h, w] at points [..., 2] of a picture of ``size`` (height, width), bilinear: [..., C]."""
    height, width = size
    grid = points / points.new_tensor((width, height)) * 2 - 1
    found = F.grid_sample(
        features, grid.reshape(1, 1, -1, 2).to(features.dtype), "bilinear", "border", align_corners=False
    )
    return found[0, :, 0].t().reshape(*points.shape[:-1], -1)


def disk(radius: float, spacing: float = 1.0) -> Tensor:
    """Offsets [K, 2] of a grid of ``spacing`` within ``radius`` of the middle; at least the middle itself."""
    reach = int(radius / spacing + 1e-6)
    steps = torch.arange(-reach, reach + 1) * spacing
    offsets = torch.cartesian_prod(steps, steps).float()
    return offsets[offsets.norm(dim=1) <= radius + 1e-6]


def square(radius: float, spacing: float) -> Tensor:
    """Offsets [S, S, 2] of a grid of ``spacing`` in a square of half side ``radius``; rows run along y."""
    reach = max(1, int(radius / spacing + 1e-6))
    steps = torch.arange(-reach, reach + 1).float() * spacing
    ys, xs = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([xs, ys], dim=-1)


@dataclass(frozen=True, eq=False)
class Templates:
    """What the handles looked like at first: ``look`` [N, K, C] at offsets ``patch`` [K, 2] around each."""

    look: Tensor
    patch: Tensor
    size: tuple[int, int]

    @classmethod
    def of(cls, features: Tensor, handles: Tensor, patch: Tensor, size: tuple[int, int]) -> Templates:
        """Templates of handles [N, 2] in features [1, C, h, w]."""
        patch = patch.to(handles)
        return cls(sample(features, handles[:, None] + patch, size), patch, size)

    def misfit(self, features: Tensor, places: Tensor) -> Tensor:
        """Mean squared difference of each handle's look at places [N, ..., 2]: [N, ...]."""
        found = sample(features, places[..., None, :] + self.patch, self.size)
        look = self.look.reshape(len(self.look), *[1] * (places.ndim - 2), *self.look.shape[1:])
        return (found - look).square().mean(dim=(-1, -2))

    def track(
        self,
        features: Tensor,  # [1, C, h, w]
        near: Tensor,  # [N, 2]: where each was, or is expected
        radius: float,  # px, half side of the square that is searched
        spacing: float,  # px between the places looked at
        refine: bool = True,  # go below the spacing, by the parabola through the best place and its neighbours
    ) -> tuple[Tensor, Tensor]:
        """The places [N, 2] that look most like the handles did, inside the picture, and their misfit [N]."""
        window = square(radius, spacing).to(near)
        side = window.shape[0]
        misfit = self.misfit(features, near[:, None, None] + window)  # [N, S, S]
        limits = near.new_tensor((self.size[1], self.size[0]))
        best = misfit.flatten(1).argmin(dim=1)
        rows, columns = best // side, best % side
        places, numbers = near + window[rows, columns], torch.arange(len(near), device=near.device)
        if refine:
            inner_rows, inner_columns = rows.clamp(1, side - 2), columns.clamp(1, side - 2)
            x = _vertex(*(misfit[numbers, rows, inner_columns + k] for k in (-1, 0, 1)))
            y = _vertex(*(misfit[numbers, inner_rows + k, columns] for k in (-1, 0, 1)))
            x, y = x * (columns == inner_columns), y * (rows == inner_rows)  # at the border there is no parabola
            places = places + torch.stack([x, y], dim=1) * spacing
        return places.clamp(min=0).minimum(limits), misfit[numbers, rows, columns]

    def motion_weights(self, features: Tensor, places: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
        """How feature changes at places [N, 2] move the handles: (weights [N, 2, K, C], points [N, K, 2]).

        Where a code changes the features by dF, a handle moves by the sum of weights * dF: the optical flow of Lucas
        and Kanade over the patch. It keeps a little stiffness, so that a handle on an edge does not slide along it.
        """
        points = places[:, None] + self.patch
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
        stiff = _STIFFNESS * gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-12)
        gram = gram + stiff[:, None, None] * torch.eye(2).to(gram)
        return -torch.einsum("nab,nbkc->nakc", torch.linalg.inv(gram), slopes), points


_STIFFNESS = 0.05


def _vertex(before: Tensor, middle: Tensor, after: Tensor) -> Tensor:
    """Where the parabola through three equally spaced values has its lowest point, within half a step."""
    bend = (before - 2 * middle + after).clamp(min=1e-12)
    return (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
