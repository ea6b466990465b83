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
