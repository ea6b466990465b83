"""From pictures to codes: optimise rows of W+ until the generator draws the pictures, all of them at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.errors import InputError
from ..models.generator import GanGenerator
from ..models.inference import building, rehome, training_mode
from .similarity import perceptual_distance, psnr

Progress = Callable[..., None]
SPACES = ("w+", "w")


@dataclass(frozen=True, eq=False)
class Inversion:
    """codes [B, L, D]; images [B, 3, H, W] as the generator draws them; psnr [B] in dB; distance [B].

    ``distance`` is how far a code lies from the mean of W in standard deviations of W: about 1 for sampled codes;
    codes of several times that draw the picture but edit badly.
    """

    codes: Tensor
    images: Tensor
    psnr: Tensor
    distance: Tensor


def invert(
    generator: GanGenerator,
    images: Tensor,  # [B, 3, H, W] in -1..1, at the generator's resolution
    start: Tensor | None = None,  # [B, L, D], from an encoder; None: the mean of W
    space: str = "w+",  # "w+": a row of its own for each layer; "w": one row for all
    steps: int = 150,
    learning_rate: float = 0.05,  # in standard deviations of W
    pull: float = 0.02,  # toward one row for all layers and toward where W is dense; 0 lets the code roam
    perceptual: float = 0.3,  # weight of structure and edges beside the squared error
    mask: Tensor | None = None,  # [B or 1, 1, H, W]: 1 where the picture counts
    noise: str | int = "constant",
    progress: Progress | None = None,
) -> Inversion:
    """Codes whose pictures equal ``images``; picture i's result does not depend on its neighbours in the batch.

    The first half of the steps compares pictures of half size, which is cheaper and keeps the search from hanging on
    fine detail. Deterministic: nothing is drawn at random.

    Raises InputError for pictures of another size, unknown spaces, and start codes that do not fit.
    """
    _check(generator, images, start, space, steps)
    with training_mode():
        images = rehome(images.to(generator.device, torch.float32))
        mask = None if mask is None else rehome(mask.to(images))
        mean, spread = rehome(generator.w_mean), _spread(generator)
        rows = 1 if space == "w" else generator.num_layers
        first = _first_codes(generator, images.shape[0], start, rows)
        offset = ((first - mean) / spread).requires_grad_(True)  # in standard deviations: one rate fits every W
        optimizer = torch.optim.Adam([offset], lr=learning_rate, betas=(0.9, 0.99))
        coarse = _coarse_height(generator)
        best = _Best(first, mean, spread, generator, images, mask, perceptual, pull, noise)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = learning_rate * _schedule(step / steps)
            height = coarse if step < steps // 2 else None
            codes = mean + offset * spread
            seen = generator.network.synthesis(_all_rows(codes, generator), noise, height).image
            loss = _distance(seen, images, mask, perceptual) + pull * _roaming(offset)
            optimizer.zero_grad(set_to_none=True)
            if height is None:
                best.offer(loss, codes)
            # A sum, so that every picture has the gradient (and Adam's state) it would have alone.
            loss.sum().backward()
            optimizer.step()
            if progress is not None:
                progress(step + 1, steps, (seen[0].detach() + 1) / 2 if step % 10 == 0 else None)
        codes = _all_rows(best.codes, generator).clone()
    return describe_inversion(generator, codes, images, noise)


def describe_inversion(
    generator: GanGenerator, codes: Tensor, images: Tensor, noise: str | int = "constant"
) -> Inversion:
    """The pictures that ``codes`` give, beside the ones they were made from."""
    with building():
        codes, images = rehome(codes.to(generator.device)), rehome(images.to(generator.device, torch.float32))
        drawn = generator.synthesize(codes, noise)
        away = (codes - rehome(generator.w_mean)) / _spread(generator)
        return Inversion(codes, drawn, psnr(drawn, images), away.square().mean(dim=(1, 2)).sqrt())


class _Best:
    """The best code of each picture so far, the start included: a good start is never made worse."""

    def __init__(self, first, mean, spread, generator, images, mask, perceptual, pull, noise) -> None:
        self.codes = first
        with torch.no_grad():
            seen = generator.synthesize(_all_rows(first, generator), noise)
            self.loss = _distance(seen, images, mask, perceptual) + pull * _roaming((first - mean) / spread)

    def offer(self, loss: Tensor, codes: Tensor) -> None:
        better = loss.detach() < self.loss
        self.loss = torch.where(better, loss.detach(), self.loss)
        self.codes = torch.where(better[:, None, None], codes.detach(), self.codes)


def _check(generator: GanGenerator, images: Tensor, start: Tensor | None, space: str, steps: int) -> None:
    height, width = generator.resolution
    if images.ndim != 4 or images.shape[0] == 0 or tuple(images.shape[1:]) != (3, height, width):
        raise InputError(
            f"The pictures have shape {tuple(images.shape)}; '{generator.name}' draws [B, 3, {height}, {width}]. "
            "Resize or crop them first (Load Image Folder does it)."
        )
    if space not in SPACES:
        raise InputError(f"Unknown space '{space}'; expected one of {', '.join(SPACES)}.")
    if steps < 0:
        raise InputError(f"The number of steps cannot be negative; got {steps}.")
    if start is not None:
        generator.check_latent(start, "", "The start of the inversion")
        if start.shape[0] != images.shape[0]:
            raise InputError(f"There are {start.shape[0]} start codes for {images.shape[0]} pictures.")


def _spread(generator: GanGenerator) -> Tensor:
    """One standard deviation of W, a single number for all dimensions so that directions keep their angles."""
    return rehome(generator.w_covariance).diagonal().mean().sqrt()


def _first_codes(generator: GanGenerator, count: int, start: Tensor | None, rows: int) -> Tensor:
    if start is None:
        return rehome(generator.w_mean).expand(count, rows, -1).clone()
    start = rehome(start.to(generator.device, torch.float32))
    return start.mean(dim=1, keepdim=True) if rows == 1 else start.clone()


def _all_rows(codes: Tensor, generator: GanGenerator) -> Tensor:
    return codes.expand(-1, generator.num_layers, -1)


def _coarse_height(generator: GanGenerator) -> int | None:
    config = generator.network.config
    height = generator.resolution[0] // 2
    return height if config.architecture == "skip" and len(config.channels) > 3 else None


def _schedule(share: float) -> float:
    """Rise over the first twentieth, fall to zero over the last half."""
    return min(1.0, share / 0.05 + 0.05) * min(1.0, 0.5 - 0.5 * math.cos(2 * math.pi * max(share, 0.5)))


def _distance(seen: Tensor, images: Tensor, mask: Tensor | None, perceptual: float) -> Tensor:
    """[B]: squared error plus structure, at the size of ``seen``."""
    if seen.shape[2] != images.shape[2]:
        factor = images.shape[2] // seen.shape[2]
        images = F.avg_pool2d(images, factor)
        mask = None if mask is None else F.avg_pool2d(mask, factor)
    if mask is None:
        error = (seen - images).square().mean(dim=(1, 2, 3))
    else:
        weight = mask.expand(images.shape[0], -1, -1, -1)
        error = ((seen - images).square() * weight).sum(dim=(1, 2, 3)) / (3 * weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)
    return error + perceptual * 0.1 * perceptual_distance(seen, images, mask)


def _roaming(offset: Tensor) -> Tensor:
    """[B]: how far rows differ from one another, and how far all of them are outside the cloud of W."""
    apart = (offset - offset.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))
    outside = F.relu(offset.square().mean(dim=2) - 1.5).mean(dim=1)
    return 0.1 * (apart + outside)
