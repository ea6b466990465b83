"""Scaled edits: more of an edit, less of it, or its opposite."""

from __future__ import annotations

import math
from dataclasses import replace

from ...models.errors import InputError
from ..common.types import EditDirection


def scale_edit(edit: EditDirection, factor: float, name: str = "") -> EditDirection:
    """Return the edit ``factor`` times as far, from the same start; below 0 it does the opposite.

    The direction, the way from start to target and the example's edited code are scaled alike, so the example's own
    strength stays 1. The normal stays: what is measured is the same attribute.

    Raises:
        InputError: a factor of 0, which is no edit, or one that is not finite.
    """
    if factor == 0 or not math.isfinite(factor):
        raise InputError(f"An edit can be scaled by any number but 0; got {factor}. Negative numbers invert it.")
    example = edit.example
    if example is not None:
        example = example.clone()
        example[1] = example[0] + factor * (edit.example[1] - edit.example[0])
    offset = edit.start + factor * (edit.offset - edit.start) if edit.has_example else edit.offset
    if factor == -1:
        new_name, note = f"opposite of {edit.name}", "inverted"
    else:
        new_name, note = f"{edit.name} x {factor:g}", f"scaled by {factor:g}"
    return replace(
        edit,
        direction=edit.direction * factor,
        offset=offset,
        example=example,
        method=f"{edit.method}, {note}".strip(", "),
        note=edit.note and f"{edit.note} Then it was {note}.",
        name=name or new_name,
    )
