"""Unsupervised directions: GANSpace and SeFa, what varies most in W, and what the style weights listen to most.

GANSpace (2004.02546): principal components of W. SeFa (2007.06600): unit vectors n that change the styles A n of the
chosen layers most, the eigenvectors of A^T A, every style's weights being taken at length 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ..common.figures import contact_sheet
from ..common.pictures import as_images, draw_states
from ..common.progress import Progress
from ..common.types import EditDirection, check_rows
from .example_edit import row_mask

__all__ = ["METHODS", "Components", "component_edit", "components_sheet", "find_components"]

METHODS = ("principal components", "style weights")
AMOUNTS = (-3.0, -1.5, 0.0, 1.5, 3.0)  # standard deviations shown in a sheet
_TILE = 128  # px, the longest side of a picture in a sheet
_LARGEST = 256  # px: a taller generator stops here for a sheet, where its architecture can


@dataclass(frozen=True, eq=False)
class Components:
    """Directions of W, the most important first, in float64.

    Args:
        vectors: [D, D], unit vectors as rows.
        deviations: [D], the standard deviation of W along each.
        shares: [D], of the variance of W (principal components) or of the styles' change (style weights); sum 1.
        mean: [D], of W.
        method: of `METHODS`.
    """

    vectors: Tensor
    deviations: Tensor
    shares: Tensor
    mean: Tensor
    method: str
    family: str

    def __len__(self) -> int:
        """D, the number of components."""
        return len(self.vectors)


def find_components(generator: GanGenerator, method: str, rows: Sequence[int] | None = None) -> Components:
    """Find all components, in float64 arithmetic on the CPU; the sign is such that the largest entry is positive.

    Args:
        rows: whose style weights count (style weights alone); None: all.

    Raises:
        InputError: an unknown method, rows that do not exist, or principal components of a generator whose codes are
            plain noise.
    """
    check_choice("method", method, METHODS)
    covariance = generator.w_covariance.cpu().double()
    if method == METHODS[0]:
        if generator.codes_are_noise:
            raise InputError(
                f"The generator '{generator.name}' has no mapping: its codes are noise that varies alike in every "
                "direction, so there are no principal components. Choose 'style weights'."
            )
        gram = covariance
    else:
        weights = torch.cat([_style_weights(generator, row) for row in _rows(generator, rows)])
        weights = F.normalize(weights, dim=1)
        gram = weights.t() @ weights
    values, columns = torch.linalg.eigh(gram)
    vectors, values = columns.t().flip(0), values.flip(0).clamp(min=0)
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    vectors = vectors * largest.sign()
    deviations = ((vectors @ covariance) * vectors).sum(dim=1).clamp(min=1e-12).sqrt()
    shares = values / values.sum()
    return Components(vectors, deviations, shares, generator.w_mean.cpu().double(), method, generator.family)


def component_edit(
    generator: GanGenerator, components: Components, index: int, rows: Sequence[int] | None = None, name: str = ""
) -> EditDirection:
    """Turn component ``index`` into an edit: one length is one standard deviation of W along it.

    Its normal measures in the same deviations, from the mean of W; state 0 is the mean, state 1 one deviation above it.

    Args:
        rows: that are edited; None: all.

    Raises:
        InputError: a component or a row that does not exist.
    """
    if not 0 <= index < len(components):
        raise InputError(f"There are the components 0 to {len(components) - 1}; got {index}.")
    rows = _rows(generator, rows)
    unit, deviation = components.vectors[index], components.deviations[index]
    shape = (generator.num_layers, generator.w_dim)
    mask = row_mask(rows, torch.empty(shape[0], 1))
    start = float(unit @ components.mean / deviation)
    return EditDirection(
        direction=((unit * deviation).float().expand(shape) * mask).to(generator.device),
        normal=((unit / deviation / len(rows)).float().expand(shape) * mask).to(generator.device),
        layers=rows,
        start=start,
        offset=start + 1.0,
        method=f"{components.method}, component {index}",
        family=generator.family,
        name=name or f"component {index}",
    )


def components_sheet(
    generator: GanGenerator,
    components: Components,
    count: int,  # components from the first
    rows: Sequence[int] | None = None,
    code: Tensor | None = None,  # [L, D]: the picture that is changed; None: the mean of W
    amounts: Sequence[float] = AMOUNTS,  # in standard deviations
    progress: Progress | None = None,  # counts components
) -> Tensor:
    """Draw a row of pictures for each component, from -3 to 3 deviations, to choose from: [H, W, 3] in 0..1."""
    if code is None:
        code = generator.w_mean.to(generator.device).expand(generator.num_layers, generator.w_dim)
    stop = _stop_height(generator)
    pictures, labels = [], []
    count = min(count, len(components))
    for k in range(count):
        edit = component_edit(generator, components, k, rows)
        steps = torch.tensor(amounts, device=edit.direction.device)[:, None, None]
        images = draw_states(generator, code.to(edit.direction)[None] + steps * edit.direction, stop)
        images = _tiles(images)
        pictures.append(list(images))
        labels.append(f"{k}: {float(components.shares[k]):.1%}")
        if progress is not None:
            progress(k + 1, count, images[-1])
    return contact_sheet(pictures, labels)


def _rows(generator: GanGenerator, rows: Sequence[int] | None) -> tuple[int, ...]:
    """Check rows against the generator; None: all."""
    rows = range(generator.num_layers) if rows is None else rows
    return check_rows(rows, generator.num_layers, f"The generator '{generator.name}'")


def _style_weights(generator: GanGenerator, row: int) -> Tensor:
    """Return A [styles, D] of what a row of W+ feeds: its convolution, for the last row ToRGB."""
    synthesis = generator.network.synthesis
    if generator.codes_are_noise:
        weight = synthesis.conv(0).weight.cpu().double()
        return rearrange(weight, "out d kh kw -> (out kw kh) d")
    return synthesis.style(row).weight.cpu().double()


def _stop_height(generator: GanGenerator) -> int | None:
    """Return the height at which a synthesis for a sheet may stop; None: finished pictures."""
    config, height = generator.network.config, generator.resolution[0]
    if config.architecture != "skip" or max(generator.resolution) <= _LARGEST:
        return None
    while height > _LARGEST and height % 2 == 0 and height // 2 >= 4:
        height //= 2
    return height


def _tiles(images: Tensor) -> Tensor:
    """Shrink [B, C, H, W] in -1..1 -> [B, h, w, 3] in 0..1, at most `_TILE` pixels."""
    longest = max(images.shape[2:])
    if longest > _TILE:
        size = [max(1, round(length * _TILE / longest)) for length in images.shape[2:]]
        images = F.interpolate(images, size=size, mode="area")
    return as_images(images).cpu()
