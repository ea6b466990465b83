"""Adapt a frozen generator to photos: its last layers learn what their codes could not say.

After GANPaint (2005.07727, section 3.3): |(x' - x)(1 - mask)|_1 + 0.1 sum of mean delta^2, deltas multiplying the
features of the last layers. Three ways to fit them: free numbers, the paper's perturbation network on a fixed noise
map, and changed weights (pivotal tuning, 2106.05744). The residual after any of them can be kept as colours that are
added to the picture: exact, made in one pass, small. The work itself is in `adaptation_fit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.errors import InputError, check_choice
from ...models.gan.adaptation import Adaptation, with_adaptation, without_adaptation
from ...models.gan.generator import GanGenerator
from ...models.gan.hooks import SynthesisHook
from ...models.gan.network import GeneratorNetwork
from ...models.gan.synthesis_run import LayerState, SynthesisOptions
from ...models.inference import enable_training, no_inference_mode
from ..common.pictures import to_rgb
from ..common.progress import Progress, StepCounter
from ..common.similarity import psnr
from .adaptation_fit import FITS, FitProblem, weight_outside

__all__ = ["METHODS", "AdaptationResult", "adapt", "late_layers", "psnr_outside"]

METHODS = ("residual", "free", "network", "weights", "free + residual", "network + residual", "weights + residual")
_STEPS = {"free": 60, "network": 250, "weights": 60, "residual": 1}
_PREVIEW_EVERY = 5  # steps
_RATES = {"free": 0.05, "network": 0.01, "weights": 0.005, "residual": 1.0}


@dataclass(frozen=True, eq=False)
class AdaptationResult:
    """The adapted generator, and how near it comes to the photos.

    Args:
        generator: adapted.
        images: [B, 3, H, W] in -1..1, the photos' codes as it draws them (under the hook).
        psnr_before: [B] dB against the photos outside the mask, without the adaptation.
        psnr: [B] dB, with it.
    """

    generator: GanGenerator
    images: Tensor
    psnr_before: Tensor
    psnr: Tensor


def adapt(
    generator: GanGenerator,  # plain, or adapted to these photos already: then it goes on from there
    images: Tensor,  # [B, 3, H, W] in -1..1, the photos
    codes: Tensor,  # [B, L, D], their codes
    method: str = "residual",
    mask: Tensor | None = None,  # [B or 1, 1, H, W]: 1 where an edit acts and the photo says nothing
    steps: int | None = None,  # of each stage of the method; None: what it needs
    learning_rate: float | None = None,  # None: the method's own
    regularizer: float = 0.1,  # weight of the mean square of the deltas
    layers: Sequence[int] | None = None,  # layers with deltas; None: those of the two largest sizes
    follow: bool = True,  # deltas follow the features when codes are edited
    hook: SynthesisHook | None = None,  # adapts under an edit of the features
    noise: str | int = "constant",
    seed: int = 0,  # of the perturbation network
    names: Sequence[str] = (),
    progress: Progress | None = None,  # previews [3, H, W] in 0..1
) -> AdaptationResult:
    """Make ``generator`` paint the photos from their codes; the generator given stays as it is.

    Deltas belong to one photo each, and a photo's do not depend on the others; changed weights are shared by all.
    Deterministic for a seed.

    Raises:
        InputError: an unknown method, or pictures, masks, codes or layers that do not fit one another.
    """
    _check(generator, images, codes, method, mask, steps)
    plain = without_adaptation(generator)
    delta_layers = _checked_layers(plain, layers)
    previous = _checked_previous(generator.adaptation, codes)
    with enable_training():
        guide = delta_layers[0] - 1 if follow and delta_layers[0] > 0 else None
        problem = FitProblem(plain, images, codes, mask, delta_layers, regularizer, guide, hook, noise, seed)
        start = Adaptation(problem.codes, names=names, family=generator.family) if previous is None else previous
        # A residual corrects what the other stages leave, so it is made anew.
        start = replace(start, names=tuple(names) or start.names, method=method, guide=guide, residual=None)
        adaptation = _fit_stages(problem, start, method.split(" + "), steps, learning_rate, progress)
    with no_inference_mode():
        adapted = with_adaptation(generator, adaptation)
        adapted_images = _draw(adapted.network, problem, {} if adaptation.weights else problem.states)
        plain_images = _draw(plain.network, problem, problem.states)
        psnr_before, psnr_after = (
            psnr_outside(x, problem.images, problem.mask) for x in (plain_images, adapted_images)
        )
        return AdaptationResult(adapted, adapted_images, psnr_before, psnr_after)


def _fit_stages(
    problem: FitProblem,
    adaptation: Adaptation,
    stages: Sequence[str],
    steps: int | None,
    learning_rate: float | None,
    progress: Progress | None,
) -> Adaptation:
    """Fit the stages of a method one after the other."""
    steps_of = {stage: _STEPS[stage] if steps is None or stage == "residual" else steps for stage in stages}
    # Weights are fitted to all photos together, deltas to a few photos at a time.
    rounds = {stage: 1 if stage == "weights" else len(problem.batches) for stage in stages}
    total = sum(steps_of[stage] * rounds[stage] for stage in stages)
    counter = StepCounter(progress, total, preview_every=_PREVIEW_EVERY, first_preview=_PREVIEW_EVERY)
    for stage in stages:
        adaptation = FITS[stage](problem, adaptation, steps_of[stage], learning_rate or _RATES[stage], counter)
    return adaptation


def _draw(network: GeneratorNetwork, problem: FitProblem, states: Mapping[int, LayerState]) -> Tensor:
    """Draw the photos' codes, from where runs stand already (by first photo of a batch): [B, 3, H, W]."""
    images = []
    for batch in problem.batches:
        options = SynthesisOptions(
            noise=problem.noise,
            hook=problem.hook,
            resume=states.get(batch.start),
            first_index=batch.start,
            photos=torch.arange(len(problem.codes))[batch],
        )
        images.append(network.synthesis(problem.codes[batch], options).image)
    return to_rgb(torch.cat(images))


def late_layers(generator: GanGenerator, sizes: int = 2) -> tuple[int, ...]:
    """Return the layers of the largest ``sizes`` sizes; at least the first is left out where there are others."""
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(k)[1] - 2 * synthesis.margin(k) for k in range(len(synthesis.layers))]
    layers = tuple(layer for layer, height in enumerate(heights) if height * 2 ** (sizes - 1) >= heights[-1])
    return layers if len(layers) < len(heights) else layers[1:] or layers


def psnr_outside(drawn: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute the peak signal-to-noise ratio over the pixels outside a mask.

    Args:
        drawn, images: [B, 3, H, W] in -1..1, clamped first.
        mask: [B or 1, 1, H, W] in 0..1; None: all pixels count.

    Returns:
        [B] dB.
    """
    return psnr(drawn, images, weight_outside(images, mask))


def _check(
    generator: GanGenerator, images: Tensor, codes: Tensor, method: str, mask: Tensor | None, steps: int | None
) -> None:
    height, width = generator.resolution
    if images.ndim != 4 or images.shape[0] == 0 or tuple(images.shape[1:]) != (3, height, width):
        raise InputError(
            f"The photos have shape {tuple(images.shape)}; '{generator.name}' draws [B, 3, {height}, {width}]. "
            "Resize or crop them first (Load Image Folder does it)."
        )
    generator.check_latent(codes, "", "The photos' latent")
    if len(codes) != len(images):
        raise InputError(f"There are {len(codes)} codes for {len(images)} photos; each photo needs its own.")
    check_choice("method", method, METHODS)
    if steps is not None and steps < 0:
        raise InputError(f"The number of steps cannot be negative; got {steps}.")
    if mask is None:
        return
    if mask.ndim != 4 or mask.shape[0] not in (1, len(images)) or tuple(mask.shape[1:]) != (1, height, width):
        raise InputError(
            f"The mask has shape {tuple(mask.shape)}; expected [{len(images)} or 1, 1, {height}, {width}], one for "
            "each photo or one for all, of the photos' size."
        )
    if bool((mask.flatten(1).mean(dim=1) > 0.99).any()):
        raise InputError("The mask covers a whole photo, so nothing of it is left to adapt to. Mask the edit alone.")


def _checked_layers(generator: GanGenerator, layers: Sequence[int] | None) -> tuple[int, ...]:
    if layers is None:
        return late_layers(generator)
    count = len(generator.network.synthesis.layers)
    unique = tuple(sorted({int(layer) for layer in layers}))
    if not unique or unique[0] < 0 or unique[-1] >= count:
        raise InputError(f"'{generator.name}' has the layers 0 to {count - 1}; got {list(layers)}.")
    return unique


def _checked_previous(previous: Adaptation | None, codes: Tensor) -> Adaptation | None:
    """Return the adaptation to go on from; refuse one of other photos."""
    if previous is None:
        return None
    if len(previous) != len(codes):
        raise InputError(
            f"The generator is adapted to {len(previous)} photos already, and {len(codes)} are given. Connect the "
            "plain generator to start anew, or the same photos to go on."
        )
    if not torch.allclose(previous.codes.float(), codes.to(previous.codes.device).float(), atol=1e-3):
        raise InputError(
            "The generator is adapted to photos with other codes. Connect the plain generator to start anew, or the "
            "codes it was adapted with to go on."
        )
    return previous
