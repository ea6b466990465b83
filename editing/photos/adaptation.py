"""Adapt a frozen generator to photos: its last layers learn what their codes could not say.

After GANPaint (2005.07727, section 3.3): |(x' - x)(1 - mask)|_1 + 0.1 sum of mean delta^2, deltas multiplying the
features of the last layers. Three ways to find them: free numbers, the paper's perturbation network on a fixed noise
map, and changed weights (pivotal tuning, 2106.05744). What is left after any of them can be kept as colours that are
added to the picture: exact, made in one pass, small. The work itself is in `adaptation_fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.adaptation import Adaptation, with_adaptation, without_adaptation
from ...models.gan.generator import GanGenerator
from ...models.gan.network import GeneratorNetwork
from ...models.gan.synthesis_run import LayerState, SynthesisOptions
from ...models.inference import enable_training, no_inference_mode
from ..common.pictures import to_rgb
from .adaptation_fit import FITS, Counter, Job, weight_outside

__all__ = ["METHODS", "AdaptationResult", "adapt", "late_layers", "psnr_outside"]

METHODS = ("residual", "free", "network", "weights", "free + residual", "network + residual", "weights + residual")
_STEPS = {"free": 60, "network": 250, "weights": 60, "residual": 1}
_RATES = {"free": 0.05, "network": 0.01, "weights": 0.005, "residual": 1.0}


@dataclass(frozen=True, eq=False)
class AdaptationResult:
    """``generator`` is adapted; ``images`` [B, 3, H, W] are the photos' codes as it draws them (under the hook).

    ``before`` and ``psnr`` [B] are dB against the photos outside the mask, without and with the adaptation.
    """

    generator: GanGenerator
    images: Tensor
    before: Tensor
    psnr: Tensor


def adapt(
    generator: GanGenerator,  # plain, or adapted to these photos already: then it goes on from there
    images: Tensor,  # [B, 3, H, W] in -1..1, the photos
    codes: Tensor,  # [B, L, D], their codes
    method: str = "residual",
    mask: Tensor | None = None,  # [B or 1, 1, H, W]: 1 where an edit acts and the photo says nothing
    steps: int | None = None,  # of each part of the method; None: what it needs
    learning_rate: float | None = None,  # None: the method's own
    regularizer: float = 0.1,  # weight of the mean square of the deltas
    layers: Sequence[int] | None = None,  # layers with deltas; None: those of the two largest sizes
    follow: bool = True,  # deltas follow the features when codes are edited
    hook: Callable[[int, Tensor], Tensor] | None = None,  # adapts under an edit of the features
    noise: str | int = "constant",
    seed: int = 0,  # of the perturbation network
    names: Sequence[str] = (),
    progress: Callable[..., None] | None = None,  # (step, total, preview [3, H, W] in 0..1); may raise
) -> AdaptationResult:
    """Make ``generator`` paint the photos from their codes; the generator given stays as it is.

    Deltas belong to one photo each, and a photo's do not depend on the others; changed weights are shared by all.
    Deterministic for a seed. Raises InputError for pictures, masks, codes and layers that do not fit one another.
    """
    _check(generator, images, codes, method, mask, steps)
    plain = without_adaptation(generator)
    chosen = _checked_layers(plain, layers)
    old = _previous(generator.adaptation, codes)
    parts = method.split(" + ")
    with enable_training():
        guide = chosen[0] - 1 if follow and chosen[0] > 0 else None
        job = Job(plain, images, codes, mask, chosen, regularizer, guide, hook, noise, seed)
        made = Adaptation(job.codes, names=names, family=generator.family) if old is None else old
        # A residual is what is left in the end, so it is made anew.
        made = replace(made, names=tuple(names) or made.names, method=method, guide=guide, residual=None)
        lengths = [_STEPS[part] if steps is None or part == "residual" else steps for part in parts]
        # Weights are fitted to all photos together, deltas to a few photos at a time.
        rounds = [1 if part == "weights" else len(job.parts) for part in parts]
        count = Counter(progress, sum(length * many for length, many in zip(lengths, rounds, strict=True)))
        for part, length in zip(parts, lengths, strict=True):
            made = FITS[part](job, made, length, learning_rate or _RATES[part], count)
    with no_inference_mode():
        adapted = with_adaptation(generator, made)
        after = _drawn(adapted.network, job, {} if made.weights else job.begun)
        before = _drawn(plain.network, job, job.begun)
        return AdaptationResult(adapted, after, *(psnr_outside(x, job.images, job.mask) for x in (before, after)))


def _drawn(network: GeneratorNetwork, job: Job, begun: Mapping[int, LayerState]) -> Tensor:
    """[B, 3, H, W]: the photos' codes as a network draws them, from where runs have begun already (by first photo)."""
    images = []
    for batch in job.parts:
        options = SynthesisOptions(
            noise=job.noise,
            hook=job.hook,
            resume=begun.get(batch.start),
            first_index=batch.start,
            photos=torch.arange(len(job.codes))[batch],
        )
        images.append(network.synthesis(job.codes[batch], options).image)
    return to_rgb(torch.cat(images))


def late_layers(generator: GanGenerator, sizes: int = 2) -> tuple[int, ...]:
    """The layers of the largest ``sizes`` sizes; at least the first layer is left out where there are others."""
    synthesis = generator.network.synthesis
    heights = [synthesis.layer_size(layer)[1] for layer in range(len(synthesis.layers))]
    chosen = tuple(layer for layer, height in enumerate(heights) if height * 2 ** (sizes - 1) >= heights[-1])
    return chosen if len(chosen) < len(heights) else chosen[1:] or chosen


def psnr_outside(drawn: Tensor, images: Tensor, mask: Tensor | None = None) -> Tensor:
    """[B] dB over the pixels outside the mask; pictures [B, 3, H, W] in -1..1, clamped first."""
    weight = weight_outside(images, mask)
    error = (drawn.clamp(-1, 1) - images.clamp(-1, 1)).square() * weight
    share = error.sum(dim=(1, 2, 3)) / (3 * weight.sum(dim=(1, 2, 3))).clamp(min=1e-6)
    return 10 * torch.log10(4.0 / share.clamp(min=1e-12))


def _check(generator, images, codes, method, mask, steps) -> None:
    height, width = generator.resolution
    if images.ndim != 4 or images.shape[0] == 0 or tuple(images.shape[1:]) != (3, height, width):
        raise InputError(
            f"The photos have shape {tuple(images.shape)}; '{generator.name}' draws [B, 3, {height}, {width}]. "
            "Resize or crop them first (Load Image Folder does it)."
        )
    generator.check_latent(codes, "", "The photos' latent")
    if len(codes) != len(images):
        raise InputError(f"There are {len(codes)} codes for {len(images)} photos; each photo needs its own.")
    if method not in METHODS:
        raise InputError(f"Unknown method '{method}'; expected one of {', '.join(METHODS)}.")
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
    chosen = tuple(sorted({int(layer) for layer in layers}))
    if not chosen or chosen[0] < 0 or chosen[-1] >= count:
        raise InputError(f"'{generator.name}' has the layers 0 to {count - 1}; got {list(layers)}.")
    return chosen


def _previous(old: Adaptation | None, codes: Tensor) -> Adaptation | None:
    """The adaptation to go on from; InputError when it belongs to other photos."""
    if old is None:
        return None
    if len(old) != len(codes):
        raise InputError(
            f"The generator is adapted to {len(old)} photos already, and {len(codes)} are given. Connect the plain "
            "generator to start anew, or the same photos to go on."
        )
    if not torch.allclose(old.codes.float(), codes.to(old.codes.device).float(), atol=1e-3):
        raise InputError(
            "The generator is adapted to photos with other codes. Connect the plain generator to start anew, or the "
            "codes it was adapted with to go on."
        )
    return old
