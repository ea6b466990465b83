"""Progress bars of nodes."""

from __future__ import annotations

from ... import host
from ...editing.common.progress import Progress


def progress_for(total: int, label: str = "") -> Progress:
    """Start a progress bar of the host; it shows at once, since a first step may take half a minute.

    Args:
        total: steps expected; the work may correct it with each report.
        label: a few words for hosts that show them.
    """
    report = host.current().progress(total, label)
    if total > 0:
        report(0, total)
    return report
