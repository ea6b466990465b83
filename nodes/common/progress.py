"""Progress bars of nodes."""

from __future__ import annotations

import functools

from torch import Tensor

from ... import host
from ...editing.common.progress import Progress


def progress_for(total: int, label: str = "") -> Progress:
    """Return a reporter ``(step, total=..., preview=None)`` of the host, with `total` filled in."""
    report = host.current().progress(total, label)

    @functools.wraps(report)
    def reporter(step: int, total: int = total, preview: Tensor | None = None) -> None:
        report(step, total, preview)

    return reporter
