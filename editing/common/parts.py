"""Parts without any segmenter: the generator's own features, sorted into clusters.

Features of one layer group by what they paint (hair, skin, background) whoever is painted, as Editing in Style
(2004.14367) found. The clusters are fitted once on sampled pictures, so that part 3 is the same part in every batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.layer_blend import resized_mask
from ...models.inference import no_inference_mode
from .part_labels import PartLabels

__all__ = ["parts_from_features", "parts_from_masks"]

_PIXELS = 20_000  # that the clusters are fitted to
_ROUNDS = 25


def parts_from_features(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    count: int = 8,
    height: int = 32,  # of the features; 0: about a quarter of the picture
    samples: int = 32,  # pictures that the clusters are fitted to
    softness: float = 0.15,  # 0: each place belongs to one part alone
    seed: int = 0,
    progress: Callable[..., None] | None = None,
) -> PartLabels:
    """``count`` parts of every picture, "part 1" (the largest) and so on.

    Raises InputError for codes that do not fit, fewer than two parts, or a height that no layer has.
    """
    generator.check_latent(codes, "", "The latent")
    if count < 2:
        raise InputError(f"At least 2 parts are needed; got {count}.")
    layer = _layer_of(generator, height)
    with no_inference_mode():
        rng = torch.Generator().manual_seed(seed)
        fitted = generator.map(torch.randn(samples, generator.z_dim, generator=rng), _labels(generator, samples, rng))
        features = torch.cat([_normed(generator, part, layer) for part in fitted.split(8)])
        pixels = features.movedim(1, -1).flatten(0, 2)
        pixels = pixels[torch.randperm(len(pixels), generator=rng)[:_PIXELS].to(pixels.device)]
        centres = _clusters(pixels, count, rng)
        spread = _distances(pixels, centres).amin(dim=1).mean()
        masks = []
        for start in range(0, len(codes), 8):
            found = _normed(generator, codes[start : start + 8], layer).movedim(1, -1)
            near = -_distances(found, centres) / (max(softness, 1e-3) * spread)
            masks.append(torch.softmax(near, dim=-1).movedim(-1, 1))
            if progress is not None:
                progress(min(start + 8, len(codes)), len(codes))
        return PartLabels(torch.cat(masks), tuple(f"part {k + 1}" for k in range(count)))


def parts_from_masks(masks: list[Tensor], names: list[str], rest: str = "everything else") -> PartLabels:
    """Masks [B, h, w] (or [h, w]) of any segmenters, one for each name; what none covers becomes ``rest``.

    Where masks overlap they share the place. Raises InputError for names and masks that do not match.
    """
    if not masks or len(masks) != len(names):
        raise InputError(f"There are {len(names)} names for {len(masks)} masks; give one name per connected mask.")
    shaped = [mask[None] if mask.ndim == 2 else mask for mask in masks]
    size, batch = shaped[0].shape[-2:], max(len(mask) for mask in shaped)
    for name, mask in zip(names, shaped, strict=True):
        if mask.ndim != 3 or len(mask) not in (1, batch):
            raise InputError(f"The mask of '{name}' has shape {list(mask.shape)}; expected [{batch} or 1, h, w].")
    place = shaped[0].device  # segmenters leave their masks where they work
    resized = [resized_mask(mask[:, None].float().to(place), size).expand(batch, -1, -1, -1) for mask in shaped]
    stacked = torch.cat(resized, dim=1).clamp(0, 1)
    if not bool(stacked.amax() > 0):
        raise InputError("All masks are empty; mark at least one part.")
    total = stacked.sum(dim=1, keepdim=True)
    stacked = stacked / total.clamp(min=1)
    if rest:
        stacked, names = torch.cat([stacked, 1 - stacked.sum(dim=1, keepdim=True)], dim=1), [*names, rest]
    return PartLabels(stacked.clamp(0, 1), tuple(names))


def _layer_of(generator: GanGenerator, height: int) -> int:
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(k)[1] for k in range(len(synthesis.layers))]
    wanted = height or max(heights[0], generator.resolution[0] // 4)
    if wanted not in heights:
        raise InputError(f"No layer has features of height {wanted}; this generator has {sorted(set(heights))}.")
    return len(heights) - 1 - heights[::-1].index(wanted)


def _labels(generator: GanGenerator, count: int, rng: torch.Generator) -> Tensor | None:
    if not generator.label_dim:
        return None
    return F.one_hot(torch.randint(generator.label_dim, (count,), generator=rng), generator.label_dim).float()


def _normed(generator: GanGenerator, codes: Tensor, layer: int) -> Tensor:
    """Unit vectors at every place: what is painted, not how strongly."""
    features = generator.features(codes, [layer])[layer].float()
    return F.normalize(features - features.mean(dim=(2, 3), keepdim=True), dim=1)


def _distances(places: Tensor, centres: Tensor) -> Tensor:
    """[..., C], [K, C] -> squared distances [..., K]; one centre at a time, or the features would be there K times."""
    return torch.stack([(places - centre).square().sum(dim=-1) for centre in centres], dim=-1)


def _clusters(points: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """k-means with k-means++ starts, [N, C] -> [count, C], the largest cluster first."""
    if len(points) < count:
        raise InputError(f"{len(points)} places are too few for {count} parts; take features of a larger height.")
    centres = points[torch.randint(len(points), (1,), generator=rng).to(points.device)]
    while len(centres) < count:
        distance = torch.cdist(points, centres).amin(dim=1).square()
        chosen = torch.multinomial(distance.cpu().double() + 1e-12, 1, generator=rng)
        centres = torch.cat([centres, points[chosen.to(points.device)]])
    for _ in range(_ROUNDS):
        nearest = torch.cdist(points, centres).argmin(dim=1)
        members = F.one_hot(nearest, count).to(points)
        sizes = members.sum(dim=0)
        moved = members.t() @ points / sizes.clamp(min=1)[:, None]
        centres = torch.where(sizes[:, None] > 0, moved, centres)
    order = torch.bincount(torch.cdist(points, centres).argmin(dim=1), minlength=count).argsort(descending=True)
    return centres[order]
