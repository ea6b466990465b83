"""Settings of a pair edit: how it is learned, and how it is applied."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.errors import InputError, check_choice
from ..common.diffusion.noise import check_levels

__all__ = ["LOSSES", "PairSampling", "PairSettings"]

LOSSES = ("content first", "two-sided", "PairEdit", "residual", "SliderEdit")
_LARGEST_SEED = 2**64 - 1


@dataclass(frozen=True)
class PairSettings:
    """How a slider is learned from pairs.

    Args:
        loss: one of LOSSES, see `losses`.
        steps: Adam steps of the slider.
        content_steps: Adam steps of the content LoRA before it, where the loss has one; 0 leaves it out.
        rate: learning rate of the slider; 0 for what suits the size of the model. The content's is twice that.
        rank: of the LoRA.
        draws: noise draws per step, each for both pictures.
        levels: share of the timesteps used, from least (0) to most noise (1).
        blocks: where the model may change, some of `lora.BLOCKS`.
        eta: by how much "PairEdit" and "residual" overshoot the pair's difference.
        checkpointing: compute blocks twice instead of keeping them: less memory, a third more time.
        seed: decides noise and start.
        reference: the model takes the picture to be edited as a reference latent (Flux Kontext, Qwen-Image-Edit,
            Flux.2), so that photos need not be inverted.

    Raises:
        InputError: when a setting is out of range.
    """

    loss: str = LOSSES[0]
    steps: int = 150
    content_steps: int = 150
    rate: float = 0.0
    rank: int = 8
    draws: int = 4
    levels: tuple[float, float] = (0.0, 1.0)
    blocks: tuple[str, ...] = ("all",)
    eta: float = 2.0
    checkpointing: bool = False
    seed: int = 0
    reference: bool = False

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, LOSSES)
        if self.steps < 1 or self.content_steps < 0 or self.draws < 1 or self.rank < 1 or not 0 <= self.rate <= 1:
            raise InputError(
                "steps, draws (noise samples) and rank have to be 1 or more, content_steps 0 or more, and rate from 0 "
                f"to 1; got {self.steps}, {self.draws}, {self.rank}, {self.content_steps} and {self.rate:g}."
            )
        if not 0 < self.eta <= 100:
            raise InputError(f"eta is {self.eta:g}; expected more than 0, up to 100.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise InputError(f"The seed is {self.seed}; expected 0 to {_LARGEST_SEED}.")
        check_levels(self.levels)


@dataclass(frozen=True)
class PairSampling:
    """How a slider is applied to photos.

    Args:
        steps: of the photo's way to its own noise, and of the way back.
        unedited: share of the first steps, those of the most noise, that are left as they were.
        refinements: times each step toward noise is solved again, so that the way back meets it.
        at_once: pictures that go through the network together; faster, but sums in another order, so that a picture is
            no longer the same to the byte whatever it shares a batch with.
        seed: decides the noise that edit models begin with; photos that are inverted have their own.
        one_pass: run the network once a step, with the slider at half the strength, instead of three times: what both
            ends share is not left out, which a slider learned by "content first" hardly needs.
        edit_threshold: share of each picture's places, 0 up to 1, that the edit should leave alone: those where it
            changes least. 0: none. With `one_pass` the network runs twice a step.

    Raises:
        InputError: when a setting is out of range.
    """

    steps: int = 20
    unedited: float = 0.0
    refinements: int = 2
    at_once: int = 1
    seed: int = 0
    one_pass: bool = False
    edit_threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise InputError(f"The seed is {self.seed}; expected 0 to {_LARGEST_SEED}.")
        if self.steps < 1 or self.refinements < 0 or self.at_once < 1 or not 0 <= self.unedited <= 1:
            raise InputError(
                "steps and at_once have to be 1 or more, refinements 0 or more, and unedited from 0 to 1; got "
                f"{self.steps}, {self.at_once}, {self.refinements} and {self.unedited:g}."
            )
        if not 0 <= self.edit_threshold < 1:
            raise InputError(f"The edit threshold has to be 0 or more and below 1; got {self.edit_threshold:g}.")
