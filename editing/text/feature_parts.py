"""Clustered generator features: parts without any segmenter.

Features of one layer group by what they paint (hair, skin, background) whoever is painted, as Editing in Style
(2004.14367) found. The clusters are fitted once on sampled pictures, so that part 3 is the same part in every batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import resized_mask
from ...models.inference import no_inference_mode
from ..common.part_labels import PartLabels
from ..common.progress import Progress
from ..common.sample import random_labels

__all__ = ["parts_from_features", "parts_from_masks"]

_PIXELS = 20_000  # that the clusters are fitted to
_ROUNDS = 25
_PER_PASS = 8  # pictures


def parts_from_features(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    count: int = 8,
    height: int = 32,  # of the features; 0: about a quarter of the picture
    samples: int = 32,  # pictures that the clusters are fitted to
    softness: float = 0.15,  # 0: each pixel belongs to one part alone
    seed: int = 0,
    progress: Progress | None = None,  # counts pictures
) -> PartLabels:
    """Label ``count`` parts of every picture, "part 1" (the largest) and so on.

    Raises:
        InputError: codes that do not fit, fewer than two parts, or a height that no layer has.
    """
    generator.check_latent(codes, "", "The latent")
    if count < 2:
        raise InputError(f"At least 2 parts are needed; got {count}.")
    layer = _layer_of_height(generator, height)
    with no_inference_mode():
        centres, spread = _fit_clusters(generator, layer, count, samples, torch.Generator().manual_seed(seed))
        masks, done = [], 0
        for batch in codes.split(_PER_PASS):
            pixels = rearrange(_unit_features(generator, batch, layer), "b c h w -> b h w c")
            logits = -_distances(pixels, centres) / (max(softness, 1e-3) * spread)
            masks.append(rearrange(torch.softmax(logits, dim=-1), "b h w p -> b p h w"))
            done += len(batch)
            if progress is not None:
                progress(done, len(codes))
        return PartLabels(torch.cat(masks), tuple(f"part {k + 1}" for k in range(count)))


def parts_from_masks(masks: list[Tensor], names: list[str], remainder: str = "everything else") -> PartLabels:
    """Join the masks of any segmenters; where they overlap they share the pixel.

    Args:
        masks: [B, h, w] or [h, w] each, one for each name.
        remainder: the name of what no mask covers; "" leaves that out.

    Raises:
        InputError: names and masks that do not match, or masks that are all empty.
    """
    if not masks or len(masks) != len(names):
        raise InputError(f"There are {len(names)} names for {len(masks)} masks; give one name per connected mask.")
    shaped = [mask[None] if mask.ndim == 2 else mask for mask in masks]
    size, batch = shaped[0].shape[-2:], max(len(mask) for mask in shaped)
    for name, mask in zip(names, shaped, strict=True):
        if mask.ndim != 3 or len(mask) not in (1, batch):
            raise InputError(f"The mask of '{name}' has shape {list(mask.shape)}; expected [{batch} or 1, h, w].")
    device = shaped[0].device  # segmenters leave their masks where they work
    resized = [resized_mask(mask[:, None].float().to(device), size).expand(batch, -1, -1, -1) for mask in shaped]
    stacked = torch.cat(resized, dim=1).clamp(0, 1)
    if not bool(stacked.amax() > 0):
        raise InputError("All masks are empty; mark at least one part.")
    total = stacked.sum(dim=1, keepdim=True)
    stacked = stacked / total.clamp(min=1)
    if remainder:
        stacked, names = torch.cat([stacked, 1 - stacked.sum(dim=1, keepdim=True)], dim=1), [*names, remainder]
    return PartLabels(stacked.clamp(0, 1), tuple(names))


def _fit_clusters(
    generator: GanGenerator, layer: int, count: int, samples: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Fit the clusters to sampled pictures: centres [count, C], and the mean squared distance to the nearest."""
    z = torch.randn(samples, generator.z_dim, generator=rng)
    codes = generator.map(z, random_labels(generator, samples, rng))
    features = torch.cat([_unit_features(generator, batch, layer) for batch in codes.split(_PER_PASS)])
    pixels = rearrange(features, "b c h w -> (b h w) c")
    pixels = pixels[torch.randperm(len(pixels), generator=rng)[:_PIXELS].to(pixels.device)]
    centres = _k_means(pixels, count, rng)
    return centres, _distances(pixels, centres).amin(dim=1).mean()


def _layer_of_height(generator: GanGenerator, height: int) -> int:
    """Return the last layer of a height; 0: about a quarter of the picture's."""
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(k)[1] - 2 * synthesis.margin(k) for k in range(len(synthesis.layers))]
    height = height or max(heights[0], generator.resolution[0] // 4)
    if height not in heights:
        raise InputError(
            f"height is {height}, and no layer has features of that; this generator has {sorted(set(heights))}."
        )
    return len(heights) - 1 - heights[::-1].index(height)


def _unit_features(generator: GanGenerator, codes: Tensor, layer: int) -> Tensor:
    """Return unit vectors at every pixel [B, C, h, w]: what is painted, not how strongly."""
    features = generator.features(codes, [layer])[layer].float()
    return F.normalize(features - features.mean(dim=(2, 3), keepdim=True), dim=1)


def _distances(pixels: Tensor, centres: Tensor) -> Tensor:
    """Return squared distances [..., C], [K, C] -> [..., K]; one centre at a time, or memory would hold K copies."""
    return torch.stack([(pixels - centre).square().sum(dim=-1) for centre in centres], dim=-1)


def _k_means(points: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Cluster points [N, C] by k-means with k-means++ starts: centres [count, C], the largest cluster first."""
    if len(points) < count:
        raise InputError(
            f"{len(points)} places are too few for {count} parts; set a larger height, or a smaller count."
        )
    centres = points[torch.randint(len(points), (1,), generator=rng).to(points.device)]
    while len(centres) < count:
        distance = torch.cdist(points, centres).amin(dim=1).square()
        index = torch.multinomial(distance.cpu().double() + 1e-12, 1, generator=rng)
        centres = torch.cat([centres, points[index.to(points.device)]])
    for _ in range(_ROUNDS):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        members = F.one_hot(nearest, count).to(points)
        sizes = members.sum(dim=0)
        moved = members.t() @ points / sizes.clamp(min=1)[:, None]
        centres = torch.where(sizes[:, None] > 0, moved, centres)
    order = torch.bincount(torch.cdist(points, centres).argmin(dim=1), minlength=count).argsort(descending=True)
    return centres[order]
