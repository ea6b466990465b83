"""Batch transfer of one edit (2401.10219), a few pictures at a time: picture, code, strength, edited picture.

What comes out for a picture depends on that picture alone, to the last bit: convolutions round differently for
different numbers of pictures, so the networks always see passes of the same size, the last one filled up. Who shares a
pass, and in which place, then makes no difference (a test holds it to that).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.inference import no_inference_mode
from ..common.pictures import to_rgb
from ..common.progress import Progress, stage
from ..common.types import EditDirection, EditStrength
from ..photos.inversion import invert
from .attribute_score import AttributeScore, sample_features
from .closed_form import apply_edit
from .features import encoder_space, generator_space
from .strength_modes import MODES, Target, attribute_score_for, strengths_for

if TYPE_CHECKING:
    from ...models.encoders.encoder import PictureEncoder

__all__ = ["Transfer", "TransferResult", "learn_score"]

_MAX_PER_PASS = 8  # more are hardly faster, on one core or on many
_PIXELS_PER_PASS = 2 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class TransferResult:
    """The edited pictures of a batch of B.

    Args:
        codes: [B, L, D], before the edit.
        strength: alpha and who was clamped, [B] each; alpha is 0 where ``usable`` is False.
        images: [B, 3, H, W], edited, about -1..1.
        usable: [B] bool; False where no code was found (its numbers are not finite), so that there is no picture.
        problems: B sentences, "" where a picture is fine; none: all are.
        states: [B, 2], what a reader read before and after; None: nothing was read.
        drawings: [B], pictures drawn for each; None: not counted.
    """

    codes: Tensor
    strength: EditStrength
    images: Tensor
    usable: Tensor
    problems: tuple[str, ...] = ()
    states: Tensor | None = None
    drawings: Tensor | None = None

    @classmethod
    def concatenate(cls, results: Sequence[TransferResult]) -> TransferResult:
        """Join results in their order."""
        strengths = [result.strength for result in results]
        first = strengths[0]
        confidence = None if first.confidence is None else torch.cat([plan.confidence for plan in strengths])
        strength = EditStrength(
            torch.cat([plan.alpha for plan in strengths]),
            torch.cat([plan.clamped for plan in strengths]),
            first.method,
            first.family,
            confidence,
        )
        return cls(
            torch.cat([result.codes for result in results]),
            strength,
            torch.cat([result.images for result in results]),
            torch.cat([result.usable for result in results]),
            tuple(problem for result in results for problem in result.problems),
            None if results[0].states is None else torch.cat([result.states for result in results]),
            None if results[0].drawings is None else torch.cat([result.drawings for result in results]),
        )


@dataclass(frozen=True, eq=False)
class Transfer:
    """The edit of every picture of a collection.

    Args:
        generator: draws the pictures.
        direction: the edit.
        encoder: guesses each code; None starts the inversion at the mean of W.
        mode, strength, target, limit: as in ``strengths_for``; target is the number of mode "number".
        reference: one code [1, L, D] whose state is the target, instead of the example's.
        steps: inversion steps after the encoder's guess; 0 takes the guess.
        corrections: how often each picture is drawn, measured and adjusted before its strength is final; 0 trusts the
            closed form.
        score: what measures the attribute on pictures, for corrections; None: see `learn_score`.
        progress: of that learning, in pictures; may raise to stop.

    Raises:
        InputError: the values belong to different generators, there is no way to find codes, or the direction has no
            state to reach. All of that is found here, before any work.
    """

    generator: GanGenerator
    direction: EditDirection
    encoder: PictureEncoder | None = None
    strength: float = 1.0
    mode: str = MODES[0]
    target: float = 0.0
    reference: Tensor | None = None
    limit: float | None = None
    steps: int = 0
    corrections: int = 0
    score: AttributeScore | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.steps < 0 or self.corrections < 0:
            raise InputError(
                f"Inversion steps and corrections cannot be negative; got {self.steps} and {self.corrections}."
            )
        if self.corrections and self.mode == "constant":
            raise InputError("Mode 'constant' has no state to correct toward; set corrections to 0.")
        if self.reference is not None and self.mode != MODES[0]:
            raise InputError(f"A reference is the state to reach, and so is mode '{self.mode}'; use one of them.")
        if self.reference is not None and len(self.reference) != 1:
            raise InputError(f"The reference holds {len(self.reference)} codes; one is needed.")
        if self.encoder is None and self.steps == 0:
            raise InputError(
                "Without an encoder, codes are found by inversion alone: give a number of steps (300 is a start), or "
                "choose an encoder that was trained for this generator."
            )
        if self.generator.adaptation is not None:
            raise InputError(
                f"The generator '{self.generator.name}' is adapted to one photo; many pictures need the generator "
                "itself. Connect it before the adaptation."
            )
        self._check_generator()
        origin = torch.zeros_like(self.direction.direction)[None]
        apply_edit(origin, self.direction, self._strengths(origin, 0).alpha)  # a strength beyond any use shows here
        if self.corrections and self.score is None:
            object.__setattr__(self, "score", learn_score(self.generator, self.direction, self.encoder, self.progress))

    def _check_generator(self) -> None:
        """Refuse a direction, an encoder or a reference of another generator."""
        name = f"The direction '{self.direction.name}'"
        self.generator.check_latent(self.direction.direction[None], self.direction.family, name)
        if self.encoder is not None:
            height, width = self.generator.resolution
            self.encoder.encode(torch.zeros(1, 3, height, width, device=self.generator.device), self.generator)
        if self.reference is not None:
            self.generator.check_latent(self.reference, "", "The reference")

    @property
    def per_pass(self) -> int:
        """Pictures that the networks see at a time: a matter of the networks alone."""
        height, width = self.generator.resolution
        for_encoder = _MAX_PER_PASS if self.encoder is None else self.encoder.per_pass
        return max(1, min(_MAX_PER_PASS, for_encoder, _PIXELS_PER_PASS // (height * width)))

    def plan(self, codes: Tensor) -> EditStrength:
        """Compute the strength of each of the codes [B, L, D]."""
        return self._strengths(codes, self.corrections)

    def _strengths(self, codes: Tensor, corrections: int) -> EditStrength:
        direction = replace(self.direction, score=self.score) if corrections else self.direction
        target = Target(self.target if self.mode == "number" else None, self.reference)
        return strengths_for(
            direction, codes, self.mode, self.strength, self.limit, target, self.generator, corrections
        )

    def encode(
        self,
        pictures: Tensor,  # [B, 3, H, W] in -1..1, at the generator's size
        progress: Progress | None = None,  # counts inversion steps
    ) -> Tensor:
        """Find the codes [B, L, D] of pictures."""
        batches = pictures.split(self.per_pass)
        total = len(batches) * self.steps
        codes = [self._codes(batch, stage(progress, k * self.steps, total)) for k, batch in enumerate(batches)]
        return torch.cat([padded[: len(batch)] for padded, batch in zip(codes, batches, strict=True)])

    def __call__(
        self,
        pictures: Tensor,  # [B, 3, H, W] in -1..1, at the generator's size
        progress: Progress | None = None,  # counts the steps of every pass: those of the inversion, and the drawing
    ) -> TransferResult:
        """Edit a few pictures."""
        batches = pictures.split(self.per_pass)
        steps = self.steps + 1
        return TransferResult.concatenate(
            [self._pass(batch, stage(progress, k * steps, len(batches) * steps)) for k, batch in enumerate(batches)]
        )

    def _pass(self, pictures: Tensor, progress: Progress) -> TransferResult:
        count = len(pictures)
        codes = self._codes(pictures, progress)
        usable = torch.isfinite(codes).all(dim=2).all(dim=1)
        # What an inversion could not find is replaced, so that its neighbours get their pictures.
        finite_codes = torch.where(usable[:, None, None], codes, torch.zeros_like(codes))
        return replace(self._edited(finite_codes, usable, count, progress), codes=codes[:count])

    def _edited(self, codes: Tensor, usable: Tensor, count: int, progress: Progress) -> TransferResult:
        """Move codes [per_pass, L, D], draw them, and keep the first ``count``."""
        plan = self.plan(codes)
        alpha = torch.where(usable, plan.alpha, torch.zeros_like(plan.alpha))
        images = self._draw(apply_edit(codes, self.direction, alpha))
        progress(self.steps + 1, self.steps + 1)
        confidence = None if plan.confidence is None else plan.confidence[:count]
        clamped = (plan.clamped & usable)[:count]
        strength = EditStrength(alpha[:count], clamped, plan.method, self.direction.family, confidence)
        return TransferResult(codes[:count], strength, images[:count], usable[:count])

    def _draw(self, codes: Tensor) -> Tensor:
        """Draw codes [B, L, D] in passes of one size: [B, 3, H, W]."""
        return to_rgb(self.generator.synthesize(codes, chunk=self.per_pass))

    def _codes(self, pictures: Tensor, progress: Progress) -> Tensor:
        """Find the codes [per_pass, L, D] of at most so many pictures, filled up with black ones."""
        pictures = pictures.to(self.generator.device, torch.float32)
        pictures = F.pad(pictures, (0, 0, 0, 0, 0, 0, 0, self.per_pass - len(pictures)))
        codes = None
        if self.encoder is not None:
            with no_inference_mode():
                codes = self.encoder.encode(pictures, self.generator)
        if self.steps:
            codes = invert(self.generator, pictures, start=codes, steps=self.steps, progress=progress).codes
        return codes


def learn_score(
    generator: GanGenerator,
    direction: EditDirection,
    encoder: PictureEncoder | None = None,
    progress: Progress | None = None,  # counts pictures
) -> AttributeScore:
    """Return what measures the direction's attribute on pictures, for corrections.

    That is its own score, or one that is learned on the encoder's features, or without an encoder on the generator's.
    """
    space = generator_space(generator) if encoder is None else encoder_space(encoder)
    if direction.score is None:
        sample_features(generator, space, progress=progress)  # cached, so that these few seconds can be stopped
    return attribute_score_for(generator, direction, lambda: space)
