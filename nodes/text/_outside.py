"""Outside of the masks: the choice, in nodes that make text edits, of what happens where no mask reaches."""

from __future__ import annotations

from ...host import io

OUTSIDE = ("kept", "free")


def outside_input() -> io.Combo.Input:
    """Return the widget."""
    return io.Combo.Input(
        "outside",
        options=list(OUTSIDE),
        optional=True,
        tooltip="kept: where no mask reaches, every layer stays the unedited picture's. free: only masks mix the "
        "layers, as published, and an edit leaks a little out of them.",
    )
