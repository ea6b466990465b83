"""Progress bars of nodes."""

from __future__ import annotations

from ... import host
from ...editing.common.progress import Progress


def progress_for(total: int, label: str = "") -> Progress:
    """Start a progress bar of the host.

    Args:
        total: steps expected; the work may correct it with each report.
        label: a few words for hosts that show them.
    """
    return host.current().progress(total, label)
