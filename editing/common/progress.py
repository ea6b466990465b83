"""Progress of long work in stages and steps; the protocol is models/progress.py, as generators report too."""

from __future__ import annotations

from torch import Tensor

from ...models.progress import Progress, silent

__all__ = ["Progress", "StepCounter", "silent", "stage"]


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
