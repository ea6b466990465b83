"""A direction of style space by a sentence, for comparison (after StyleMC, 2112.08493; style space: 2011.12799).

Style space is what the affine layers make of a row of W+: one scale for each channel that a convolution reads. A
direction there adds a number to each of them, the same for every picture; colours (ToRGB) stay, as in the paper. No
masks: what a channel paints elsewhere changes too. No node offers it; the benchmark of text edits does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from semantic_edit.editing.common.progress import Progress, silent
from semantic_edit.editing.text.clip_loss import TextGoal
from semantic_edit.editing.text.edit import check_styles
from semantic_edit.models.errors import InputError
from semantic_edit.models.gan.generator import GanGenerator
from semantic_edit.models.gan.synthesis_run import SynthesisOptions
from semantic_edit.models.inference import clone_from_inference, enable_training
from torch import Tensor, nn

__all__ = ["apply_style_direction", "train_style_direction"]

_SAMPLES = 512  # codes that tell how much each channel varies


def train_style_direction(
    generator: GanGenerator,
    goal: TextGoal,
    codes: Tensor,  # [N, L, D]: the pictures to learn from
    steps: int = 80,
    batch: int = 4,
    rate: float = 0.05,  # in standard deviations of a channel
    l2: float = 0.004,
    stop_resolution: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Tensor]:
    """Learn with Adam, as the paper does, what is added to each layer's styles: [C_l] for layer l.

    Raises:
        InputError: codes that do not fit, a generator without styles, or no steps.
    """
    check_styles(generator)
    generator.check_latent(codes, "", "The latent")
    if steps < 1 or batch < 1:
        raise InputError(f"Steps and batch must be at least 1; got {steps} and {batch}.")
    rng = torch.Generator().manual_seed(seed)
    synthesis = generator.network.synthesis
    with enable_training():
        codes = clone_from_inference(codes).to(generator.device).float()
        with torch.no_grad():
            sampled = generator.map(_noise(generator, rng), _labels(generator))[:, 0]
            stds = [layer.affine(sampled).std(dim=0) for layer in _layers(generator)]
            before = [
                synthesis(some_codes, SynthesisOptions(stop_resolution=stop_resolution)).image
                for some_codes in codes.split(batch)
            ]
            before = torch.cat([goal.embed(pictures) for pictures in before])
        units = [torch.zeros_like(std, requires_grad=True) for std in stds]
        optimizer = torch.optim.Adam(units, rate)
        for step in range(steps):
            indices = torch.randint(len(codes), (batch,), generator=rng).to(codes.device)
            with _shifted_styles(generator, [unit * std for unit, std in zip(units, stds, strict=True)]):
                pictures = synthesis(codes[indices], SynthesisOptions(stop_resolution=stop_resolution)).image
            mean_square = torch.stack([unit.square().sum() for unit in units]).mean()
            loss = goal.loss(pictures, before[indices]).mean() + l2 * mean_square
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            progress(step + 1, steps)
        return [(unit.detach() * std) for unit, std in zip(units, stds, strict=True)]


def apply_style_direction(
    generator: GanGenerator,
    codes: Tensor,  # [B, L, D]
    direction: list[Tensor],  # [C_l] of each layer
    alpha: float = 1.0,
) -> Tensor:
    """Draw pictures with ``alpha`` times the direction added to their styles: [B, 3, H, W]."""
    with torch.no_grad(), _shifted_styles(generator, [alpha * change for change in direction]):
        return generator.synthesize(codes)


@contextmanager
def _shifted_styles(generator: GanGenerator, changes: list[Tensor]) -> Iterator[None]:
    """Add ``changes`` to every convolution's styles while the context lasts; the network is left as it was."""
    hooks = [
        layer.affine.register_forward_hook(lambda _module, _inputs, styles, change=change: styles + change)
        for layer, change in zip(_layers(generator), changes, strict=True)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _layers(generator: GanGenerator) -> list[nn.Module]:
    synthesis = generator.network.synthesis
    return [synthesis.conv(layer) for layer in range(len(synthesis.layers))]


def _noise(generator: GanGenerator, rng: torch.Generator) -> Tensor:
    return torch.randn(_SAMPLES, generator.z_dim, generator=rng)


def _labels(generator: GanGenerator) -> Tensor | None:
    if not generator.label_dim:
        return None
    return torch.eye(generator.label_dim)[torch.arange(_SAMPLES) % generator.label_dim]
