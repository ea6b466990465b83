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
