"""GAN inversion: optimise rows of W+ until the generator draws the pictures, all of them at once.

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

from ...models.errors import InputError, check_choice
from ...models.gan.generator import GanGenerator
from ...models.gan.synthesis_run import SynthesisOptions
from ...models.inference import clone_from_inference, enable_training, no_inference_mode
from ...models.losses.perceptual import PerceptualNetwork, PerceptualTarget
from ..common.pictures import to_rgb
from ..common.progress import Progress, StepCounter
from ..common.similarity import SSIMTarget
from .adaptation import adapt, psnr_outside
from .inversion_report import error_map, region_words
from .inversion_starts import RACE_STEPS, candidates

SPACES = ("w+", "w")
PULL = 0.4  # measured: edits as precise as those of sampled codes, for 0.2 dB against 0.02
_FEATURE_RATE = 0.03
_CACHE_BYTES = 256 * 1024**2  # of what comparisons need of the pictures
_NETWORK_CACHE_BYTES = 1024**3  # the same with a perceptual network, whose features of one picture take 33 MB
_NETWORK_BYTES = 64 * 1024**2  # of one picture, at two sizes
_PREVIEW_EVERY = 10  # steps
IDENTITY_WEIGHT = 0.1  # as pixel2style2pixel and e4e weigh it beside a squared error
Identity = Callable[[Tensor], Tensor]  # pictures [B, 3, H, W] -> unit vectors [B, E]


@dataclass(frozen=True, eq=False)
class Inversion:
    """The codes of pictures, and how near and how editable they are.

    Args:
        codes: [B, L, D].
        images: [B, 3, H, W] about -1..1, as the generator draws them.
        psnr: [B] dB where the mask counts.
        distance: [B], from the mean of W in standard deviations of W: about 1 for sampled codes; codes of several
            times that draw the picture but edit badly.
        error: [B, 1, H, W], how much the picture still differs; see `error_map`.
        where: the same in words.
        starts: the start that won for each picture.
        generator: with the early features, if any.
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
    perceptual_network: PerceptualNetwork | None = None,  # measures structure in place of our own measure
    identity: Identity | None = None,  # recognises the person; the same weight as published
) -> Inversion:
    """Optimise codes until their pictures equal ``images``; a picture's result does not depend on its neighbours.

    The first half of the steps compares pictures of half size, which is cheaper and keeps the search from hanging on
    fine detail. The same seed gives the same codes; without sampled starts nothing is drawn at random.

    Raises:
        InputError: pictures of another size or of no numbers, an unknown space, a mask without anything, a start that
            does not fit, or early layers of a generator that is adapted already.
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
        problem = InversionProblem(
            generator, images, mask, space, learning_rate, pull, perceptual, noise, perceptual_network, identity
        )
        counter = StepCounter(progress, steps, preview_every=_PREVIEW_EVERY, first_preview=1)
        first_codes, winners = _race_starts(problem, start, starts, seed, steps, counter)
        codes = problem.all_rows(_descend(problem, first_codes, steps, counter)).clone()
        if early_layers and steps:
            ignored = None if problem.mask is None else 1 - problem.mask
            generator = adapt(
                generator, problem.images, codes, "free", ignored, steps, _FEATURE_RATE, layers=range(early_layers),
                follow=False, noise=noise, names=names, progress=counter.then(),
            ).generator  # fmt: skip
    return describe_inversion(generator, codes, images, noise, mask, winners)


def describe_inversion(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    images: Tensor,  # [B, 3, H, W] in -1..1, the pictures that they were made from
    noise: str | int = "constant",
    mask: Tensor | None = None,  # [B or 1, 1, H, W]: 1 where the picture counts
    starts: Sequence[str] = (),  # the start of each code
) -> Inversion:
    """Draw codes and compare their pictures with the ones they were made from."""
    with no_inference_mode():
        codes, images = (
            clone_from_inference(codes.to(generator.device)),
            clone_from_inference(images.to(generator.device, torch.float32)),
        )
        mask = None if mask is None else clone_from_inference(mask.to(images))
        drawn = to_rgb(generator.synthesize(codes, noise))
        offset = (codes - clone_from_inference(generator.w_mean)) / _std_of_w(generator)
        error = error_map(drawn, images, mask)
        return Inversion(
            codes,
            drawn,
            psnr_outside(drawn, images, None if mask is None else 1 - mask),
            offset.square().mean(dim=(1, 2)).sqrt(),
            error,
            region_words(error),
            tuple(starts),
            generator,
        )


class InversionProblem:
    """What stays the same while codes are looked for: pictures, weights, and the cloud of W.

    Args:
        generator: draws the pictures; it may be adapted.
        images: [B, 3, H, W] in -1..1.
        mask: [B or 1, 1, H, W], 1 where the picture counts; None: everywhere.
        space: of SPACES.
        learning_rate: in standard deviations of W.
        pull: weight of the regularization in W.
        perceptual: weight of structure and edges.
        noise: of the synthesis.
        network: measures structure; None: our own measure.
        identity: recognises the person; None: nobody asks.
    """

    def __init__(
        self,
        generator: GanGenerator,
        images: Tensor,
        mask: Tensor | None,
        space: str,
        learning_rate: float,
        pull: float,
        perceptual: float,
        noise: str | int,
        network: PerceptualNetwork | None = None,
        identity: Identity | None = None,
    ) -> None:
        self.network, self.identity = network, identity
        self.generator, self.learning_rate, self.noise = generator, learning_rate, noise
        self.pull, self.perceptual = pull, perceptual
        self.images = clone_from_inference(images.to(generator.device, torch.float32))
        self.mask = None if mask is None else clone_from_inference(mask.to(self.images))
        self.mean, self.std = clone_from_inference(generator.w_mean), _std_of_w(generator)
        self.rows = 1 if space == "w" else generator.num_layers
        self.coarse_height = _coarse_height(generator)
        self.batch = generator.pictures_per_graph()
        self.targets: dict[tuple[int, int | None], _TargetImages] | None = {}  # (first picture, height) -> target
        if 12 * self.images.nbytes > _CACHE_BYTES:
            self.targets = None
        if network is not None and _NETWORK_BYTES * len(self.images) > _NETWORK_CACHE_BYTES:
            self.targets = None

    def target(self, first: int, height: int | None) -> _TargetImages:
        """Return the pictures from ``first`` on at a height, prepared for comparison; cached where they fit."""
        if self.targets is not None and (first, height) in self.targets:
            return self.targets[first, height]
        batch = slice(first, first + self.batch)
        mask = self.mask if self.mask is None or len(self.mask) == 1 else self.mask[batch]
        with torch.no_grad():
            target = _TargetImages.at_height(self.images[batch], mask, height, self.network, self.identity)
        if self.targets is not None:
            self.targets[first, height] = target
        return target

    def all_rows(self, codes: Tensor) -> Tensor:
        """[B, 1 or L, D] -> [B, L, D]."""
        return codes.expand(-1, self.generator.num_layers, -1)

    def losses(self, offset: Tensor, height: int | None) -> tuple[Tensor, Tensor]:
        """Compute the loss of codes, and add its gradient to ``offset.grad`` where that asks for one.

        A few pictures share a graph at a time, so that memory does not grow with the batch; every picture has the
        gradient that it would have alone.

        Args:
            offset: [B, 1 or L, D], the codes in standard deviations from the mean of W.
            height: of the pictures that are compared; None: the full size.

        Returns:
            Losses [B], and the first picture [1, 3, h, w].
        """
        all_codes = self.all_rows(self.mean + offset.detach() * self.std)
        photos = self.generator.network.photos_of(all_codes)  # whose photo a code is, is seen from the whole batch
        losses, preview = [], None
        for first in range(0, len(offset), self.batch):
            batch = slice(first, first + self.batch)
            codes = self.mean + offset[batch] * self.std
            options = SynthesisOptions(
                noise=self.noise,
                stop_resolution=height,
                first_index=first,
                photos=None if photos is None else photos[batch],
            )
            drawn = to_rgb(self.generator.network.synthesis(self.all_rows(codes), options).image)
            regularization = _w_regularization((codes - self.mean) / self.std)
            loss = self.target(first, height).distance(drawn, self.perceptual) + self.pull * regularization
            if offset.requires_grad and torch.is_grad_enabled():
                loss.sum().backward()
            losses.append(loss.detach())
            preview = drawn[:1].detach() if preview is None else preview
        return torch.cat(losses), preview


def _descend(problem: InversionProblem, start: Tensor, steps: int, progress: StepCounter) -> Tensor:
    """Optimise codes [B, 1 or L, D] and return the best of each, the start included: it is never made worse."""
    # In standard deviations: one rate fits every W.
    offset = ((start - problem.mean) / problem.std).requires_grad_(True)
    optimizer = torch.optim.Adam([offset], lr=problem.learning_rate, betas=(0.9, 0.99))
    with torch.no_grad():
        best, best_loss = start, problem.losses(offset, None)[0]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = problem.learning_rate * _schedule(step / steps)
        height = problem.coarse_height if step < steps // 2 else None
        optimizer.zero_grad(set_to_none=True)
        loss, drawn = problem.losses(offset, height)
        if height is None:
            best, best_loss = _better(best, best_loss, problem.mean + offset.detach() * problem.std, loss)
        optimizer.step()
        progress.step(drawn)
    return best


def _better(best: Tensor, best_loss: Tensor, codes: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each picture the codes of the lower loss, and that loss."""
    better = loss < best_loss
    return torch.where(better[:, None, None], codes, best), torch.where(better, loss, best_loss)


def _race_starts(
    problem: InversionProblem, start: Tensor | None, starts: int, seed: int, steps: int, progress: StepCounter
) -> tuple[Tensor, tuple[str, ...]]:
    """Return each picture's best start [B, 1 or L, D] after a few steps at a small size, and its name."""
    racers = candidates(
        problem.generator, problem.images, start, starts, seed, problem.noise, problem.mask, problem.coarse_height,
        progress.step,
    )  # fmt: skip
    if problem.rows == 1:
        racers = [(name, codes.mean(dim=1, keepdim=True)) for name, codes in racers]
    if len(racers) == 1 or not steps:
        name, codes = racers[0]
        return codes.clone(), (name,) * len(codes)
    progress.total += RACE_STEPS * len(racers)
    best, best_loss, winners = racers[0][1], None, [racers[0][0]] * len(problem.images)
    for name, codes in racers:
        offset = ((codes - problem.mean) / problem.std).requires_grad_(True)
        optimizer = torch.optim.Adam([offset], lr=problem.learning_rate, betas=(0.9, 0.99))
        for _ in range(RACE_STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss, drawn = problem.losses(offset, problem.coarse_height)
            optimizer.step()
            progress.step(drawn)
        ahead = torch.ones_like(loss, dtype=torch.bool) if best_loss is None else loss < best_loss
        winners = [name if wins else winner for wins, winner in zip(ahead.tolist(), winners, strict=True)]
        # The race only chooses: the search begins again at the start itself, which is then never made worse.
        best = torch.where(ahead[:, None, None], codes, best)
        best_loss = loss if best_loss is None else torch.where(ahead, loss, best_loss)
    return best.clone(), tuple(winners)


def _check(
    generator: GanGenerator, images: Tensor, start: Tensor | None, space: str, steps: int, mask: Tensor | None
) -> None:
    height, width = generator.resolution
    if images.ndim != 4 or images.shape[0] == 0 or tuple(images.shape[1:]) != (3, height, width):
        raise InputError(
            f"The pictures have shape {tuple(images.shape)}; '{generator.name}' draws [B, 3, {height}, {width}]. "
            "Resize or crop them first (Load Image Folder does it)."
        )
    for name, values in (("pictures to invert", images), ("masks", mask)):
        if values is not None and not bool(torch.isfinite(values).all()):
            raise InputError(f"The {name} hold values that are not finite (NaN or infinity); look at the step before.")
    check_choice("space", space, SPACES)
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


def _std_of_w(generator: GanGenerator) -> Tensor:
    """Return one standard deviation of W, a single number for all dimensions so that directions keep their angles."""
    return clone_from_inference(generator.w_covariance).diagonal().mean().sqrt()


def _coarse_height(generator: GanGenerator) -> int | None:
    """Return half the height, where a synthesis can stop there and pictures are large enough."""
    config = generator.network.config
    height = generator.resolution[0] // 2
    return height if config.architecture == "skip" and len(config.channels) > 3 else None


def _schedule(share: float) -> float:
    """Rise over the first twentieth, fall to zero over the last half."""
    return min(1.0, share / 0.05 + 0.05) * min(1.0, 0.5 - 0.5 * math.cos(2 * math.pi * max(share, 0.5)))


@dataclass(frozen=True, eq=False)
class _TargetImages:
    """Pictures to reach, prepared for comparison."""

    images: Tensor  # [B, 3, h, w]
    weight: Tensor | None  # [B, 1, h, w], where they count
    ssim_target: SSIMTarget | None  # None: the network measures
    network: PerceptualNetwork | None = None
    network_target: PerceptualTarget | None = None
    identity: Identity | None = None
    faces: Tensor | None = None  # [B, E]

    @classmethod
    def at_height(
        cls,
        images: Tensor,
        mask: Tensor | None,
        height: int | None,
        network: PerceptualNetwork | None = None,
        identity: Identity | None = None,
    ) -> _TargetImages:
        """Shrink pictures [B, 3, H, W] and their mask to a height; None leaves their size."""
        factor = 1 if height is None else images.shape[2] // height
        if factor > 1:
            images = F.avg_pool2d(images, factor)
            mask = None if mask is None else F.avg_pool2d(mask, factor)
        weight = None if mask is None else mask.expand(images.shape[0], -1, -1, -1)
        faces = None if identity is None else identity(images)
        if network is None:
            return cls(images, weight, SSIMTarget.from_images(images, mask), identity=identity, faces=faces)
        return cls(images, weight, None, network, network.target(images, mask), identity, faces)

    def distance(self, drawn: Tensor, perceptual: float) -> Tensor:
        """Compute the squared error plus structure of pictures [B, 3, h, w]: [B]."""
        error = (drawn - self.images).square()
        if self.weight is None:
            error = error.mean(dim=(1, 2, 3))
        else:
            pixels = (3 * self.weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)
            error = (error * self.weight).sum(dim=(1, 2, 3)) / pixels
        if self.identity is not None:
            error = error + IDENTITY_WEIGHT * (1 - (self.identity(drawn) * self.faces).sum(dim=1))
        if self.network is not None:
            return error + perceptual * self.network.distance(drawn, self.network_target)
        return error + perceptual * 0.1 * self.ssim_target.distance(drawn)


def _w_regularization(offset: Tensor) -> Tensor:
    """Penalise rows [B, 1 or L, D] that differ from one another, or lie outside the cloud of W: [B]."""
    deviation = (offset - offset.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2))
    outside = F.relu(offset.square().mean(dim=2) - 1.5).mean(dim=1)
    return 0.1 * (deviation + outside)
