"""Where an inversion begins: several starts race for a few steps at a small size, and each picture keeps its best."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference
from ..common.pictures import to_rgb
from ..common.sample import sample
from ..common.similarity import SSIMTarget

__all__ = ["GIVEN", "MEAN", "RACE_STEPS", "candidates"]

GIVEN, MEAN = "given codes", "mean"
RACE_STEPS = 15
_POOL = 96  # sampled pictures among which the nearest are looked for
_AT_ONCE = 16


def candidates(
    generator: GanGenerator,
    images: Tensor,  # [B, 3, H, W]
    start: Tensor | None,  # [B, L, D]
    count: int,
    seed: int,
    noise: str | int,
    mask: Tensor | None = None,  # [B or 1, 1, H, W]
    height: int | None = None,  # of the pictures that are compared; None: the full size
    check: Callable[[], None] = lambda: None,  # may raise
) -> list[tuple[str, Tensor]]:
    """(name, codes [B, L, D]) of ``count`` starts: the given codes, the mean of W, then sampled codes near by.

    A generator without mean (a Progressive GAN's mean code has no direction) takes a sampled code in its place.
    """
    if count < 1:
        raise InputError(f"An inversion needs at least one start; got {count}.")
    found: list[tuple[str, Tensor]] = []
    if start is not None:
        found.append((GIVEN, clone_from_inference(start.to(generator.device, torch.float32))))
    mean = clone_from_inference(generator.w_mean)
    if len(found) < count and bool(mean.abs().max() > 0):
        found.append((MEAN, mean.expand(len(images), generator.num_layers, -1).clone()))
    if len(found) < count:
        near = _nearest(generator, images, count - len(found), seed, noise, mask, height, check)
        found += [(f"sample {k + 1}", codes) for k, codes in enumerate(near)]
    return found


def _nearest(generator, images, count, seed, noise, mask, height, check) -> list[Tensor]:
    """[B, L, D] each: of a fixed pool of sampled codes, the nearest to every picture, the second nearest, and so on."""
    codes = clone_from_inference(sample(generator, max(_POOL, count), seed).codes)
    factor = 1 if height is None else images.shape[2] // height
    small = F.avg_pool2d(images, factor)
    weight = None if mask is None else F.avg_pool2d(mask, factor)
    apart = []
    with torch.no_grad():
        looks = SSIMTarget.from_images(small, weight)
        for part in codes.split(_AT_ONCE):
            check()
            drawn = to_rgb(
                generator.network.synthesis(part, SynthesisOptions(noise=noise, stop_resolution=height)).image
            )
            for picture in drawn:
                pair = picture[None].expand_as(small)
                error = (pair - small).square()
                error = error if weight is None else error * weight
                apart.append(error.mean(dim=(1, 2, 3)) + 0.03 * looks.distance(pair))
    order = torch.stack(apart).argsort(dim=0)[:count]  # [count, B]
    return [codes[row] for row in order]
