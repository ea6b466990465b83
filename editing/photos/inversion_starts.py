"""Starts of an inversion: the given codes, the mean of W, and sampled codes near each picture; they race at first."""

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

__all__ = ["GIVEN_CODES", "MEAN", "RACE_STEPS", "candidates"]

GIVEN_CODES, MEAN = "given codes", "mean"
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
    on_batch: Callable[[], object] = lambda: None,  # called before each batch of samples; may raise to stop
) -> list[tuple[str, Tensor]]:
    """Return (name, codes [B, L, D]) of ``count`` starts: the given codes, the mean of W, then sampled codes near by.

    A generator without mean (a Progressive GAN's mean code has no direction) takes a sampled code in its place.

    Raises:
        InputError: no starts are asked for.
    """
    if count < 1:
        raise InputError(f"An inversion needs at least one start; got {count}.")
    starts: list[tuple[str, Tensor]] = []
    if start is not None:
        starts.append((GIVEN_CODES, clone_from_inference(start.to(generator.device, torch.float32))))
    mean = clone_from_inference(generator.w_mean)
    if len(starts) < count and bool(mean.abs().max() > 0):
        starts.append((MEAN, mean.expand(len(images), generator.num_layers, -1).clone()))
    if len(starts) < count:
        nearest = _nearest(generator, images, count - len(starts), seed, noise, mask, height, on_batch)
        starts += [(f"sample {k + 1}", codes) for k, codes in enumerate(nearest)]
    return starts


def _nearest(
    generator: GanGenerator,
    images: Tensor,
    count: int,
    seed: int,
    noise: str | int,
    mask: Tensor | None,
    height: int | None,
    on_batch: Callable[[], object],
) -> list[Tensor]:
    """Return of a fixed pool of sampled codes the nearest to every picture, the second nearest, ...: [B, L, D] each."""
    codes = clone_from_inference(sample(generator, max(_POOL, count), seed).codes)
    factor = 1 if height is None else images.shape[2] // height
    small = F.avg_pool2d(images, factor)
    weight = None if mask is None else F.avg_pool2d(mask, factor)
    distances = []
    options = SynthesisOptions(noise=noise, stop_resolution=height)
    with torch.no_grad():
        target = SSIMTarget.from_images(small, weight)
        for batch in codes.split(_AT_ONCE):
            on_batch()
            for picture in to_rgb(generator.network.synthesis(batch, options).image):
                repeated = picture[None].expand_as(small)
                error = (repeated - small).square()
                error = error if weight is None else error * weight
                distances.append(error.mean(dim=(1, 2, 3)) + 0.03 * target.distance(repeated))
    order = torch.stack(distances).argsort(dim=0)[:count]  # [count, B]
    return [codes[row] for row in order]
