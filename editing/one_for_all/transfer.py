"""One edit for many pictures, a few at a time: picture to code, to its strength, to the edited picture.

What comes out for a picture depends on that picture alone, to the last bit: convolutions round differently for
different numbers of pictures, so the networks always see passes of the same size, the last one filled up. Who shares a
pass, and in which place, then makes no difference (a test holds it to that).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.inference import no_inference_mode
from ..common.pictures import to_rgb
from ..common.types import EditDirection, EditStrength
from ..photos.inversion import invert
from .attribute_score import AttributeScore, sample_features
from .closed_form import apply_edit
from .features import encoder_space, generator_space
from .strength_modes import MODES, Target, attribute_score_for, strengths_for

if TYPE_CHECKING:
    from ...models.encoders.encoder import Encoder

__all__ = ["Transfer", "TransferResult", "learn_score"]

_MOST_PER_PASS = 8  # more are hardly faster, on one core or on many
_PIXELS_PER_PASS = 2 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class TransferResult:
    """What became of B pictures.

    Args:
        codes: [B, L, D], before the edit.
        strength: alpha and who was clamped, [B] each; alpha is 0 where ``usable`` is False.
        images: [B, 3, H, W], edited, about -1..1.
        usable: [B] bool; False where no code was found (its numbers are not finite), so that there is no picture.
    """

    codes: Tensor
    strength: EditStrength
    images: Tensor
    usable: Tensor


@dataclass(frozen=True, eq=False)
class Transfer:
    """How every picture of a collection is edited.

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
        told: called while that is learned, with how many pictures more are drawn; may raise to stop.

    Raises:
        InputError: the parts belong to different generators, there is no way to find codes, or the direction has no
            state to reach. All of that is found here, before any work.
    """

    generator: GanGenerator
    direction: EditDirection
    encoder: Encoder | None = None
    strength: float = 1.0
    mode: str = MODES[0]
    target: float = 0.0
    reference: Tensor | None = None
    limit: float | None = None
    steps: int = 0
    corrections: int = 0
    score: AttributeScore | None = None
    told: Callable[[int], None] | None = None

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
        what = f"The direction '{self.direction.name}'"
        self.generator.check_latent(self.direction.direction[None], self.direction.family, what)
        if self.encoder is not None:
            height, width = self.generator.resolution
            self.encoder.encode(torch.zeros(1, 3, height, width, device=self.generator.device), self.generator)
        if self.reference is not None:
            self.generator.check_latent(self.reference, "", "The reference")
        self._strengths(torch.zeros_like(self.direction.direction)[None], 0)
        if self.corrections and self.score is None:
            object.__setattr__(self, "score", learn_score(self.generator, self.direction, self.encoder, self.told))

    @property
    def per_pass(self) -> int:
        """How many pictures the networks see at a time: a matter of the networks alone."""
        height, width = self.generator.resolution
        most = min(_MOST_PER_PASS, getattr(self.encoder, "per_pass", _MOST_PER_PASS))
        return max(1, min(most, _PIXELS_PER_PASS // (height * width)))

    def plan(self, codes: Tensor) -> EditStrength:
        """[B, L, D] -> the strength of each."""
        return self._strengths(codes, self.corrections)

    def _strengths(self, codes: Tensor, corrections: int) -> EditStrength:
        direction = replace(self.direction, score=self.score) if corrections else self.direction
        number = self.target if self.mode == "number" else None
        goal = Target(number, self.reference)
        return strengths_for(direction, codes, self.mode, self.strength, self.limit, goal, self.generator, corrections)

    def encode(self, pictures: Tensor, tick: Callable[[], None] | None = None) -> Tensor:
        """[B, 3, H, W] in -1..1 at the generator's size -> codes [B, L, D]; ``tick`` is called each inversion step."""
        return torch.cat([self._codes(part, tick)[: len(part)] for part in pictures.split(self.per_pass)])

    def __call__(
        self,
        pictures: Tensor,  # [B, 3, H, W] in -1..1, at the generator's size
        tick: Callable[[], None] | None = None,  # called between the steps of a pass; may raise to stop
    ) -> TransferResult:
        """Edit a few pictures."""
        parts = [self._pass(part, tick) for part in pictures.split(self.per_pass)]
        plans = [part.strength for part in parts]
        strength = EditStrength(
            torch.cat([plan.alpha for plan in plans]),
            torch.cat([plan.clamped for plan in plans]),
            plans[0].method,
            self.direction.family,
            None if plans[0].confidence is None else torch.cat([plan.confidence for plan in plans]),
        )
        codes, images, usable = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("codes", "images", "usable")
        )
        return TransferResult(codes, strength, images, usable)

    def _pass(self, pictures: Tensor, tick: Callable[[], None] | None) -> TransferResult:
        count = len(pictures)
        codes = self._codes(pictures, tick)
        usable = torch.isfinite(codes).all(dim=2).all(dim=1)
        # What an inversion could not find is replaced, so that its neighbours get their pictures.
        sound = torch.where(usable[:, None, None], codes, torch.zeros_like(codes))
        plan = self.plan(sound)
        alpha = torch.where(usable, plan.alpha, torch.zeros_like(plan.alpha))
        images = to_rgb(self.generator.synthesize(apply_edit(sound, self.direction, alpha), chunk=self.per_pass))
        if tick is not None:
            tick()
        certain = None if plan.confidence is None else plan.confidence[:count]
        kept = EditStrength(alpha[:count], (plan.clamped & usable)[:count], plan.method, plan.family, certain)
        return TransferResult(codes[:count], kept, images[:count], usable[:count])

    def _codes(self, pictures: Tensor, tick: Callable[[], None] | None) -> Tensor:
        """Codes of a whole pass, its filling included."""
        pictures = pictures.to(self.generator.device, torch.float32)
        filling = self.per_pass - len(pictures)
        if filling:
            pictures = torch.cat([pictures, pictures.new_zeros(filling, *pictures.shape[1:])])
        codes = None
        if self.encoder is not None:
            with no_inference_mode():
                codes = self.encoder.encode(pictures, self.generator)
        if self.steps:
            report = None if tick is None else lambda *_: tick()
            codes = invert(self.generator, pictures, start=codes, steps=self.steps, progress=report).codes
        return codes


def learn_score(
    generator: GanGenerator,
    direction: EditDirection,
    encoder: Encoder | None = None,
    told: Callable[[int], None] | None = None,  # how many pictures more are drawn; may raise to stop
) -> AttributeScore:
    """What measures the direction's attribute on pictures, for corrections: its own score, or one that is learned with
    the encoder's eyes, or without one in the generator's own features."""
    space = generator_space(generator) if encoder is None else encoder_space(encoder)
    if direction.score is None:
        sample_features(generator, space, told=told)  # the network keeps them, so that these few seconds can be stopped
    return attribute_score_for(generator, direction, lambda: space)
