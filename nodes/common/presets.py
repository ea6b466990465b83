"""Presets: a node's settings by name, as published beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...host import io
from ...models.errors import check_choice
from ...models.printable import printable_logger

__all__ = ["AS_SET", "Presets", "preset_input", "with_preset"]

AS_SET = "as set"
Presets = Mapping[str, Mapping[str, Any]]  # name -> input -> what counts instead of what the input says
log = printable_logger(__name__)


def preset_input(presets: Presets) -> io.Combo.Input:
    """Return the widget, to stand behind all other inputs."""
    return io.Combo.Input(
        "preset",
        options=[AS_SET, *presets],
        optional=True,
        tooltip="Settings by name, which count instead of the inputs: ours, or as published. as set: the inputs "
        "count. What a preset does not name stays as set.",
    )


def with_preset(presets: Presets, name: str, **settings: Any) -> tuple[dict[str, Any], str]:
    """Replace settings by those of a preset.

    Returns:
        The settings, and a line that says which have another value now; empty where none has.

    Raises:
        InputError: an unknown preset.
    """
    check_choice("preset", name, (AS_SET, *presets))
    if name == AS_SET:
        return settings, ""
    chosen = presets[name]
    changed = [f"{key} {chosen[key]}" for key in chosen if chosen[key] != settings[key]]
    note = f"preset '{name}': {', '.join(changed) or 'nothing changed'}"
    log.info("%s", note)
    return settings | dict(chosen), note
