"""The one way in which long work reports: steps, their number, and now and then a preview."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Progress(Protocol):
    """Reports a step of long work, and may raise to stop it: let whatever it raises through."""

    def __call__(self, step: int, total: int, preview: Tensor | None = None) -> None:
        """Report.

        Args:
            step: steps done so far.
            total: steps expected in all; a later call may correct it.
            preview: a picture of the state, [3, H, W] or [H, W, 3] in 0..1.
        """


def silent(step: int, total: int, preview: Tensor | None = None) -> None:
    """Report to nobody: the default of work that nobody watches."""


def stage(progress: Progress | None, start: int, total: int) -> Progress:
    """Return the progress of one stage of longer work.

    Args:
        progress: of the whole work; None: nobody watches.
        start: steps of the whole that were done before this stage.
        total: steps of the whole.

    Returns:
        A progress that reports step k of the stage, whatever total the stage names, as step ``start + k`` of ``total``.
    """
    if progress is None:
        return silent

    def report(step: int, total_of_stage: int, preview: Tensor | None = None) -> None:
        progress(min(start + step, total), total, preview)

    return report


class StepCounter:
    """Counts the steps of work whose total may still grow, and shows a preview of every few.

    Args:
        progress: of the whole work; None: nobody watches.
        total: steps that are expected so far; may be changed.
        preview_every: steps between previews.
        first_preview: the step that shows the first one.
    """

    def __init__(self, progress: Progress | None, total: int, preview_every: int, first_preview: int) -> None:
        self.progress, self.total, self.done = progress, total, 0
        self.preview_every, self.first_preview = preview_every, first_preview

    def step(self, pictures: Tensor | None = None) -> None:
        """Report one more step, with the first of ``pictures`` [B, 3, H, W] in -1..1 where a preview is due."""
        self.done += 1
        if self.progress is not None:
            due = self.done % self.preview_every == self.first_preview % self.preview_every
            preview = (pictures[0].detach() + 1) / 2 if pictures is not None and due else None
            self.progress(self.done, max(self.total, self.done), preview)

    def then(self) -> Progress | None:
        """Return the progress of a further piece of work, which counts its own steps; None where nobody watches."""
        if self.progress is None:
            return None
        progress, done = self.progress, self.done
        return lambda step, total, preview=None: progress(done + step, done + total, preview)
