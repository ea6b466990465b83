"""From pictures to codes: optimise rows of W+ until the generator draws the pictures, all of them at once.

Codes far from W draw their picture and edit badly, so the rows are pulled toward one another and toward the cloud of W.
Several starts race at first; noise stays as it is and is never optimised; what codes alone cannot say may go into the
features of the early layers, as GANPaint (2005.07727) does for a Progressive GAN, whose z says little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference, enable_training, no_inference_mode
from ..common.pictures import to_rgb
from ..common.similarity import SSIMTarget
from .adaptation import adapt, psnr_outside
from .inversion_report import error_map, region_words
from .inversion_starts import RACE_STEPS, candidates

Progress = Callable[..., None]
SPACES = ("w+", "w")
PULL = 0.4  # measured: edits as precise as those of sampled codes, for 0.2 dB against 0.02
_FEATURE_RATE = 0.03
_KEPT_BYTES = 256 * 1024**2  # of what comparisons need of the pictures


@dataclass(frozen=True, eq=False)
class Inversion:
    """codes [B, L, D]; images [B, 3, H, W] as the generator draws them; psnr [B] in dB where the mask counts.

    ``distance`` [B] is how far a code lies from the mean of W in standard deviations of W: about 1 for sampled codes;
    codes of several times that draw the picture but edit badly. ``error`` [B, 1, H, W] is where the picture still
    differs, ``where`` the same in words, ``starts`` the start that won. ``generator`` has the early features, if any.
    """

    codes: Tensor
    images: Tensor
    psnr: Tensor
    distance: Tensor
    error: Tensor
    where: Sequence[str]
    starts: Sequence[str]
    generator: GanGenerator


def invert(
    generator: GanGenerator,
    images: Tensor,  # [B, 3, H, W] in -1..1, at the generator's resolution
    start: Tensor | None = None,  # [B, L, D], from an encoder; None: the mean of W
    space: str = "w+",  # "w+": a row of its own for each layer; "w": one row for all
    steps: int = 150,
    learning_rate: float = 0.05,  # in standard deviations of W
    pull: float = PULL,  # toward one row for all layers and toward where W is dense; 0 lets the code roam
    perceptual: float = 0.3,  # weight of structure and edges beside the squared error
    mask: Tensor | None = None,  # [B or 1, 1, H, W]: 1 where the picture counts
    noise: str | int = "constant",
    starts: int = 1,  # how many race: the given codes, the mean, then sampled codes near each picture
    early_layers: int = 0,  # this many layers from the first get features of their own after the codes are found
    seed: int = 0,  # of the sampled starts
    names: Sequence[str] = (),  # of the pictures, for the adapted generator
    progress: Progress | None = None,
) -> Inversion:
    """Codes whose pictures equal ``images``; picture i's result does not depend on its neighbours in the batch.

    The first half of the steps compares pictures of half size, which is cheaper and keeps the search from hanging on
    fine detail. The same seed gives the same codes; without sampled starts nothing is drawn at random.

    Raises InputError for pictures of another size or of no numbers, unknown spaces, masks without anything, starts
    that do not fit, and early layers of a generator that is adapted already.
    """
    _check(generator, images, start, space, steps, mask)
    if not 0 <= early_layers <= len(generator.network.synthesis.layers):
        raise InputError(
            f"early_layers is {early_layers}; '{generator.name}' has {len(generator.network.synthesis.layers)} layers. "
            "0 leaves its features alone."
        )
    if early_layers and generator.adaptation is not None:
        raise InputError(
            f"'{generator.name}' is adapted to photos already, and early_layers would adapt it to other codes. Connect "
            "the plain generator, or set early_layers to 0."
        )
    with enable_training():
        job = _Job(generator, images, mask, space, learning_rate, pull, perceptual, noise)
        count = _Count(progress, steps)
        first, won = _first_codes(job, start, starts, seed, steps, count)
        codes = job.all_rows(_descend(job, first, steps, count)).clone()
        finished = generator
        if early_layers and steps:
            ignored = None if job.mask is None else 1 - job.mask
            finished = adapt(
                generator, job.images, codes, "free", ignored, steps, _FEATURE_RATE, layers=range(early_layers),
                follow=False, noise=noise, names=names, progress=count.more(steps),
            ).generator  # fmt: skip
    return describe_inversion(finished, codes, images, noise, mask, won)


def describe_inversion(
    generator: GanGenerator,
    codes: Tensor,
    images: Tensor,
    noise: str | int = "constant",
    mask: Tensor | None = None,
    starts: Sequence[str] = (),
) -> Inversion:
    """The pictures that ``codes`` give, beside the ones they were made from."""
    with no_inference_mode():
        codes, images = (
            clone_from_inference(codes.to(generator.device)),
            clone_from_inference(images.to(generator.device, torch.float32)),
        )
        mask = None if mask is None else clone_from_inference(mask.to(images))
        drawn = to_rgb(generator.synthesize(codes, noise))
        away = (codes - clone_from_inference(generator.w_mean)) / _spread(generator)
        error = error_map(drawn, images, mask)
        return Inversion(
            codes,
            drawn,
            psnr_outside(drawn, images, None if mask is None else 1 - mask),
            away.square().mean(dim=(1, 2)).sqrt(),
            error,
            region_words(error),
            tuple(starts),
            generator,
        )


class _Job:
    """What stays the same while codes are looked for."""

    def __init__(self, generator, images, mask, space, learning_rate, pull, perceptual, noise) -> None:
        self.generator, self.learning_rate, self.noise = generator, learning_rate, noise
        self.pull, self.perceptual = pull, perceptual
        self.images = clone_from_inference(images.to(generator.device, torch.float32))
        self.mask = None if mask is None else clone_from_inference(mask.to(self.images))
        self.mean, self.spread = clone_from_inference(generator.w_mean), _spread(generator)
        self.rows = 1 if space == "w" else generator.num_layers
        self.coarse = _coarse_height(generator)
        self.at_once = generator.pictures_per_graph()
        self.kept: dict[tuple[int, int | None], _Goal] | None = {}
        if 12 * self.images.nbytes > _KEPT_BYTES:
            self.kept = None

    def goal(self, begin: int, height: int | None) -> _Goal:
        """What the pictures from ``begin`` on shall look like at a size: the same at every step, so it is kept."""
        if self.kept is not None and (begin, height) in self.kept:
            return self.kept[begin, height]
        part = slice(begin, begin + self.at_once)
        mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[part]
        made = _Goal.of(self.images[part], mask, height)
        if self.kept is not None:
            self.kept[begin, height] = made
        return made

    def all_rows(self, codes: Tensor) -> Tensor:
        """[B, 1 or L, D] -> [B, L, D]."""
        return codes.expand(-1, self.generator.num_layers, -1)

    def losses(self, offset: Tensor, height: int | None) -> tuple[Tensor, Tensor]:
        """([B], the first picture [1, 3, h, w]) of codes [B, 1 or L, D] given in spreads from the mean.

        The gradient is added to ``offset.grad`` where it asks for one. A few pictures share a graph at a time, so that
        memory does not grow with the batch; every picture has the gradient that it would have alone.
        """
        whole = self.all_rows(self.mean + offset.detach() * self.spread)
        photos = self.generator.network.photos_of(whole)  # whose photo a code is, is seen from the whole batch
        found, first = [], None
        for begin in range(0, len(offset), self.at_once):
            part = slice(begin, begin + self.at_once)
            codes = self.mean + offset[part] * self.spread
            rows = self.all_rows(codes)
            options = SynthesisOptions(
                noise=self.noise,
                stop_resolution=height,
                first_index=begin,
                photos=None if photos is None else photos[part],
            )
            seen = to_rgb(self.generator.network.synthesis(rows, options).image)
            roaming = _roaming((codes - self.mean) / self.spread)
            loss = self.goal(begin, height).distance(seen, self.perceptual) + self.pull * roaming
            if offset.requires_grad and torch.is_grad_enabled():
                loss.sum().backward()
            found.append(loss.detach())
            first = seen[:1].detach() if first is None else first
        return torch.cat(found), first


class _Count:
    """Progress over a total that grows with each part of the work."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self, seen: Tensor | None = None) -> None:
        self.done += 1
        if self.progress is not None:
            preview = (seen[0].detach() + 1) / 2 if seen is not None and self.done % 10 == 1 else None
            self.progress(self.done, max(self.total, self.done), preview)

    def more(self, steps: int) -> Progress | None:
        """A reporter of another piece of work of about so many steps."""
        if self.progress is None:
            return None
        before, report = self.done, self.progress
        return lambda step, total, preview=None: report(before + step, before + total, preview)


def _descend(job: _Job, first: Tensor, steps: int, count: _Count) -> Tensor:
    """The best code of each picture, [B, 1 or L, D], the start included: a good start is never made worse."""
    offset = ((first - job.mean) / job.spread).requires_grad_(True)  # in standard deviations: one rate fits every W
    optimizer = torch.optim.Adam([offset], lr=job.learning_rate, betas=(0.9, 0.99))
    with torch.no_grad():
        best, least = first, job.losses(offset, None)[0]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = job.learning_rate * _schedule(step / steps)
        height = job.coarse if step < steps // 2 else None
        optimizer.zero_grad(set_to_none=True)
        loss, seen = job.losses(offset, height)
        if height is None:
            best, least = _kept(best, least, job.mean + offset.detach() * job.spread, loss)
        optimizer.step()
        count.step(seen)
    return best


def _kept(best: Tensor, least: Tensor, codes: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    better = loss < least
    return torch.where(better[:, None, None], codes, best), torch.where(better, loss, least)


def _first_codes(
    job: _Job, start: Tensor | None, starts: int, seed: int, steps: int, count: _Count
) -> tuple[Tensor, tuple[str, ...]]:
    """[B, 1 or L, D] and the name of each picture's start: the one that is ahead after a few steps at a small size."""
    found = candidates(job.generator, job.images, start, starts, seed, job.noise, job.mask, job.coarse, count.step)
    narrowed = [(name, codes.mean(dim=1, keepdim=True) if job.rows == 1 else codes) for name, codes in found]
    if len(narrowed) == 1 or not steps:
        name, codes = narrowed[0]
        return codes.clone(), (name,) * len(codes)
    count.total += RACE_STEPS * len(narrowed)
    best, least, won = narrowed[0][1], None, [narrowed[0][0]] * len(job.images)
    for name, codes in narrowed:
        offset = ((codes - job.mean) / job.spread).requires_grad_(True)
        optimizer = torch.optim.Adam([offset], lr=job.learning_rate, betas=(0.9, 0.99))
        for _ in range(RACE_STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss, seen = job.losses(offset, job.coarse)
            optimizer.step()
            count.step(seen)
        ahead = torch.ones_like(loss, dtype=torch.bool) if least is None else loss < least
        won = [name if first else old for first, old in zip(ahead.tolist(), won, strict=True)]
        # The race only chooses: the search begins again at the start itself, which is then never made worse.
        best = torch.where(ahead[:, None, None], codes, best)
        least = loss if least is None else torch.where(ahead, loss, least)
    return best.clone(), tuple(won)


def _check(
    generator: GanGenerator, images: Tensor, start: Tensor | None, space: str, steps: int, mask: Tensor | None
) -> None:
    height, width = generator.resolution
    if images.ndim != 4 or images.shape[0] == 0 or tuple(images.shape[1:]) != (3, height, width):
        raise InputError(
            f"The pictures have shape {tuple(images.shape)}; '{generator.name}' draws [B, 3, {height}, {width}]. "
            "Resize or crop them first (Load Image Folder does it)."
        )
    for what, values in (("pictures to invert", images), ("masks", mask)):
        if values is not None and not bool(torch.isfinite(values).all()):
            raise InputError(f"The {what} hold values that are not finite (NaN or infinity); look at the step before.")
    if space not in SPACES:
        raise InputError(f"Unknown space '{space}'; expected one of {', '.join(SPACES)}.")
    if steps < 0:
        raise InputError(f"The number of steps cannot be negative; got {steps}.")
    if start is not None:
        generator.check_latent(start, "", "The start of the inversion")
        if start.shape[0] != images.shape[0]:
            raise InputError(f"There are {start.shape[0]} start codes for {images.shape[0]} pictures.")
    if mask is None:
        return
    if mask.ndim != 4 or mask.shape[0] not in (1, images.shape[0]) or tuple(mask.shape[1:]) != (1, height, width):
        raise InputError(
            f"The mask has shape {tuple(mask.shape)}; expected [{images.shape[0]} or 1, 1, {height}, {width}], one for "
            "each picture or one for all."
        )
    if bool((mask.flatten(1).mean(dim=1) < 0.01).any()):
        raise InputError("The mask is empty for a picture, so nothing of it counts. It is 1 where the picture counts.")


def _spread(generator: GanGenerator) -> Tensor:
    """One standard deviation of W, a single number for all dimensions so that directions keep their angles."""
    return clone_from_inference(generator.w_covariance).diagonal().mean().sqrt()


def _coarse_height(generator: GanGenerator) -> int | None:
    config = generator.network.config
    height = generator.resolution[0] // 2
    return height if config.architecture == "skip" and len(config.channels) > 3 else None


def _schedule(share: float) -> float:
    """Rise over the first twentieth, fall to zero over the last half."""
    return min(1.0, share / 0.05 + 0.05) * min(1.0, 0.5 - 0.5 * math.cos(2 * math.pi * max(share, 0.5)))


@dataclass(frozen=True, eq=False)
class _Goal:
    """Pictures [B, 3, h, w] to reach, where they count [B, 1, h, w], and their looks."""

    images: Tensor
    weight: Tensor | None
    looks: SSIMTarget

    @classmethod
    def of(cls, images: Tensor, mask: Tensor | None, height: int | None) -> _Goal:
        factor = 1 if height is None else images.shape[2] // height
        if factor > 1:
            images = F.avg_pool2d(images, factor)
            mask = None if mask is None else F.avg_pool2d(mask, factor)
        weight = None if mask is None else mask.expand(images.shape[0], -1, -1, -1)
        return cls(images, weight, SSIMTarget.from_images(images, mask))

    def distance(self, seen: Tensor, perceptual: float) -> Tensor:
        """[B]: squared error plus structure."""
        error = (seen - self.images).square()
        if self.weight is None:
            error = error.mean(dim=(1, 2, 3))
        else:
            counted = (3 * self.weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)
            error = (error * self.weight).sum(dim=(1, 2, 3)) / counted
        return error + perceptual * 0.1 * self.looks.distance(seen)


def _roaming(offset: Tensor) -> Tensor:
    """[B]: how far rows differ from one another, and how far all of them are outside the cloud of W."""
    apart = (offset - offset.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))
    outside = F.relu(offset.square().mean(dim=2) - 1.5).mean(dim=1)
    return 0.1 * (apart + outside)
