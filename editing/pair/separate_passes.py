"""Losses whose strengths, sentences or references differ, so that each strength is a pass of its own.

With D(x; s | r) the denoised latent at the slider's strength s under the reference latent r (edit models: Flux Kontext,
Qwen-Image-Edit, Flux.2), a and b the pictures before and after, noised alike as x_a and x_b:

`two-sided`      |D(x_b; +1 | a) - b|^2 + |D(x_a; -1 | b) - a|^2, each picture made of the other
`content first`  the same on top of a content LoRA that keeps either, |D(x_a | a) - a|^2 + |D(x_b | b) - b|^2
`PairEdit`       |D(x_a; +1 | a) - (a + eta (b - a))|^2 on top of a content LoRA of the picture before
`residual`       |D(x; +-1 | m) - (D(x; 0 | m) +- eta (b - a) / 2)|^2 for m between the two pictures, x its noised form
`SliderEdit`     |D(x_a; -1, edit | a) - D(x_a; 0, keep | a)|^2 + |D(x_a; +1, keep | a) - D(x_a; 0, edit | a)|^2

The last needs no picture after: under the instruction, -1 makes the network do what it does under the plain sentence
(SliderEdit, 2511.09715, whose own sign is the other one); the mirrored term is ours, so that +1 edits under the plain
sentence, where Apply Pair Edit starts.

Networks that list the references' timesteps behind those of the pictures, or send tokens to experts, see other rows
than one for each picture: a strength per picture has no meaning there, one strength for a pass has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.diffusion.denoiser import Denoiser
from ..common.diffusion.noise import NoiseBatch
from .losses import Draws, PairLatents
from .multiplier import Multiplier
from .settings import PairSettings

__all__ = ["REFERENCES", "SeparatePasses", "needs_separate_passes", "referenced_condition"]

REFERENCES = "reference_latents"  # as ComfyUI's ReferenceLatent calls them
_Entry = tuple[Tensor, dict[str, Any]]


def needs_separate_passes(settings: PairSettings) -> bool:
    """Tell whether a loss is one of this file's."""
    return settings.reference or settings.loss == "SliderEdit"


def referenced_condition(
    denoiser: Denoiser,
    embedding: Tensor,  # [1, T, D]
    extras: Mapping[str, Any],
    reference: Tensor,  # [B, C, h, w], scaled for the network
) -> Any:
    """Return the network's arguments for a sentence and the pictures that it is to edit.

    Raises:
        InputError: when the model takes no reference latents, or the sentence brings its own.
    """
    if extras.get(REFERENCES):
        raise InputError(
            "The conditioning holds reference latents already; here each photo is its own: connect the text encoder "
            "without a picture."
        )
    extras = {**extras, REFERENCES: [denoiser.latent_out(reference)]}
    condition = denoiser.condition(embedding, extras, (1, *reference.shape[1:]))
    if not denoiser.takes_references(condition):
        raise InputError(
            f"'{denoiser.name}' takes no reference latents; turn off 'reference', or use an edit model such as Flux "
            "Kontext, Qwen-Image-Edit or Flux.2."
        )
    return condition


@dataclass(frozen=True, eq=False)
class SeparatePasses(PairLatents):
    """Pairs [K, C, h, w] with their sentence, an instruction, and whether the network sees references."""

    sentence: _Entry
    instruction: _Entry | None
    referenced: bool

    def slider_terms(self, draws: Draws, settings: PairSettings, slider: Multiplier) -> Iterator[Tensor]:
        """Yield the slider's loss by strength; the module's head has the formulas."""
        a, b = self.before[draws.pairs], self.after[draws.pairs]
        half = settings.eta * (b - a) / 2
        if settings.loss == "SliderEdit":
            keep, edit = self._original(a, draws.noise, slider), self._original(a, draws.noise, slider, True)
            yield self._error(1.0, a, a, edit, draws.noise, slider) / 2
            yield self._error(-1.0, a, a, keep, draws.noise, slider, instructed=True) / 2
        elif settings.loss == "PairEdit":
            yield self._error(1.0, a, a, a + 2 * half, draws.noise, slider)
        elif settings.loss == "residual":
            between = torch.lerp(a, b, draws.shares.reshape(-1, *[1] * (a.ndim - 1)))
            original = self._original(between, draws.noise, slider)
            for sign in (1.0, -1.0):
                yield self._error(sign, between, between, original + sign * half, draws.noise, slider) / 2
        else:
            yield self._error(1.0, b, a, b, draws.noise, slider) / 2
            yield self._error(-1.0, a, b, a, draws.noise, slider) / 2

    def content_terms(self, draws: Draws, settings: PairSettings) -> Iterator[Tensor]:
        """Yield the loss of keeping the pictures as they are."""
        sides = [self.before] if settings.loss == "PairEdit" else [self.before, self.after]
        for side in sides:
            x0 = side[draws.pairs]
            denoised = self._denoised(x0, x0, draws.noise)
            yield self.squared_error(denoised, x0, draws.noise.sigma) / len(sides)

    def ends(self, draws: Draws, slider: Multiplier) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the denoised latents at strengths 0, +1 and -1, and the change to be learned, [B, C, h, w] each."""
        a, b = self.before[draws.pairs], self.after[draws.pairs]
        x0 = torch.lerp(a, b, 0.5)
        denoised = []
        for sign in (0.0, 1.0, -1.0):
            with slider.at(torch.tensor([sign])):
                denoised.append(self._denoised(x0, x0, draws.noise))
        original, plus, minus = denoised
        if self.instruction is None:
            return original, plus, minus, b - a
        return original, plus, minus, self._original(x0, draws.noise, slider, True) - original

    def example(self, noise: NoiseBatch, slider: Multiplier) -> Tensor:
        """Return the first picture before, noised, as the slider at +1 denoises it, [1, C, h, w]."""
        with slider.at(torch.ones(1)):
            return self._denoised(self.before[:1], self.before[:1], noise)

    def _error(
        self, sign: float, x0: Tensor, reference: Tensor, target: Tensor, noise: NoiseBatch, slider: Multiplier,
        instructed: bool = False,
    ) -> Tensor:  # fmt: skip
        # Stays so: checkpointed blocks are computed again on the way back.
        slider.strengths = torch.tensor([sign])
        return self.squared_error(self._denoised(x0, reference, noise, instructed), target, noise.sigma)

    def _original(self, x0: Tensor, noise: NoiseBatch, slider: Multiplier, instructed: bool = False) -> Tensor:
        """Return what the network makes of noised latents without the slider, out of the graph."""
        previous, slider.strengths = slider.strengths, None
        with torch.no_grad():
            denoised = self._denoised(x0, x0, noise, instructed)
        slider.strengths = previous
        return denoised

    def _denoised(self, x0: Tensor, reference: Tensor, noise: NoiseBatch, instructed: bool = False) -> Tensor:
        embedding, extras = self.instruction if instructed else self.sentence
        if self.referenced:
            condition = referenced_condition(self.denoiser, embedding, extras, reference)
        else:
            condition = self.denoiser.condition(embedding, extras, (1, *x0.shape[1:]))
        x = self.denoiser.noised(x0, noise.noise, noise.sigma)
        return self.denoiser.denoise(x, noise.sigma, condition)
