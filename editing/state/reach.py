"""Edit One for All (2401.10219) for any editor: draw, read and correct, until all pictures show one state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.progress import Progress
from .outside import OutsideCap
from .plan import describe_reach, reach_title
from .rounds import DrawingRounds

__all__ = ["ReachedState", "reach_state"]


@dataclass(frozen=True, eq=False)
class ReachedState:
    """Pictures at one state, or as near as they come.

    Args:
        strengths: [B], at which ``pictures`` were drawn.
        readings: [B], what was read there; NaN for a picture that cannot be read.
        reachable: [B] bool; whose range ends before the target is left at its end.
        pictures: [B, 3, H, W], as drawn at ``strengths``.
        renders: pictures drawn in all.
        target: [B].
        drawings: [B], readings of each picture that were used.
        tolerance: a reading that is nearer to its target is at the state: a tenth of the pictures' own spread, or a
            fiftieth of what the edit moves, and twice the reader's noise.
        reader: what the readings are of: the reader that was given, or what it was taught.
    """

    strengths: Tensor
    readings: Tensor
    reachable: Tensor
    pictures: Tensor
    renders: int
    target: Tensor
    drawings: Tensor | None = None
    tolerance: float = 0.0
    reader: Callable[[Tensor], Tensor] | None = None

    @property
    def landed(self) -> Tensor:
        """Tell whose reading is at the target, [B] bool: what was drawn, and not what might be."""
        return (self.readings - self.target).abs() <= self.tolerance

    def report(self, names: Sequence[str] = ()) -> str:
        """Say who is at the state and who falls short; pictures are numbered where ``names`` has none."""
        return describe_reach(self.strengths, self.reachable, self.readings, self.landed, self.tolerance, names)

    def title(self) -> str:
        """Say the same in numbers, for a plot."""
        return reach_title(self.reachable, self.readings, self.landed)


def reach_state(
    render: Callable[[Tensor], Tensor],
    read: Callable[[Tensor], Tensor],
    target: Tensor | Sequence[float],
    strengths: Sequence[float] = (0.0, 0.5, 1.0),
    rounds: int = 2,
    *,
    noise: float | None = None,
    cap: OutsideCap | None = None,
    progress: Progress | None = None,
    unedited: Tensor | None = None,
    render_some: Callable[[Tensor, Tensor], Tensor] | None = None,
    strength_penalty: float = 0.0,
    learn: bool = False,
) -> ReachedState:
    """Bring each picture to its target by the strength that it needs.

    All pictures are read at the least edit, then each is drawn at one of the other strengths: together they show the
    shared curve. Rounds of corrections follow, a secant step per picture whose slope is pulled toward the shared one as
    far as the reader is noisy; they end where what is missing is lost in the reader's own noise. Three or four drawings
    a picture are usual with two rounds; one more follows where many have not landed, or where somebody turns out late
    to have the state out of reach. Between two and three do with ``unedited`` and ``render_some``.

    Args:
        render: strengths [B] -> pictures [B, 3, H, W].
        read: pictures -> readings [B] or [B, 1]; a `StateReader` brings its noise along.
        target: [B]; its length is the number of pictures.
        strengths: those of the shared curve, two or more; no picture is drawn outside of their range.
        rounds: corrections at most.
        noise: standard deviation of a reading; None: the reader's own, else estimated.
        cap: on what may change outside of a region; a picture's range ends where it is met. Strength 0 has to be
            the unedited picture.
        progress: counts pictures; may raise to stop.
        unedited: [B, 3, H, W], the pictures at strength 0, where they are at hand: they are read and not drawn.
        render_some: strengths [M], index [M] -> pictures [M, 3, H, W] of these alone; whoever has landed is then not
            drawn again. ``read`` gets what was drawn, M pictures.
        strength_penalty: 0 takes the reading nearest to the target at any strength; at 1 nobody is pushed on where the
            edit has done what it can, see `plan.strength_price`.
        learn: drawings teach the reader of an example, as `taught_reader` does, as soon as they are of 16 pictures:
            for an example that this editor made. Needs ``unedited``; targets are in the reader's unit, where its
            example is 1.

    Raises:
        InputError: a target that is not finite, fewer than two different strengths, negative rounds, pictures or
            readings of another number than targets, unedited pictures where strength 0 is not among those allowed, or
            none where the reader is to learn.
    """
    if learn and unedited is None:
        raise InputError("A reader learns from what changed: learning needs the unedited pictures.")
    job = DrawingRounds(
        render, read, target, strengths, rounds, noise, cap, progress, render_some, strength_penalty, learn
    )
    if unedited is not None:
        job.begin_with(unedited)
    for proposal in job.curve_strengths():
        job.draw(*proposal)
    for _ in range(rounds):
        if job.settled():
            break
        job.draw(*job.correction())
    if rounds and job.far_off():
        job.draw(*job.correction())
    if job.misplaced():
        job.draw(*job.ends())
    outcome, dtype = job.outcome(), torch.get_default_dtype()
    return ReachedState(
        outcome.strengths.to(job.device, dtype),
        outcome.readings.to(job.device, dtype),
        outcome.reachable.to(job.device),
        outcome.pictures,
        job.renders,
        job.target.to(job.device, dtype),
        outcome.drawings,
        outcome.tolerance,
        read if job.lessons is None else job.lessons.reader,
    )
