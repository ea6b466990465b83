"""Changing by hand where a text edit acts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...models.errors import InputError
from .edit import TextEdit

__all__ = ["refine"]


def refine(
    edit: TextEdit,
    rows: Sequence[int] | None = None,  # rows that may still change; None: as before
    drop_parts: Sequence[str] = (),
    threshold: float | None = None,
    region: Tensor | None = None,  # [h, w] or [1, h, w] in 0..1: nowhere else
    extra: Tensor | None = None,  # [h, w] or [1, h, w] in 0..1: here as well
) -> TextEdit:
    """The same edit, with less or more room to act.

    Raises InputError for parts it does not have, nothing left of it, and masks of several pictures: a text edit serves
    any picture, so masks drawn by hand hold for all of them.
    """
    changes: dict[str, object] = {}
    if rows is not None:
        kept = [row for row in rows if row in edit.rows]
        if not kept:
            raise InputError(f"None of the rows {list(rows)} is used by this edit; it changes {list(edit.rows)}.")
        changes["rows"] = kept
    if drop_parts:
        changes |= _without(edit, drop_parts)
    if threshold is not None:
        changes["threshold"] = threshold
    for name, mask in (("region", region), ("extra", extra)):
        if mask is not None:
            changes[name] = _single(mask, "only_here" if name == "region" else "also_here")
    refined = edit.refined(**changes)
    if refined.selection is not None and refined.extra is None and not refined.acting_parts():
        raise InputError(
            f"Nothing is left of the edit: in its rows {list(refined.rows)} no part is selected by more than "
            f"{float(refined.selection[:, list(refined.rows)].max()):.2f}, and the threshold is {refined.threshold:g}. "
            "Lower the threshold, or keep other rows or parts."
        )
    return refined


def _without(edit: TextEdit, names: Sequence[str]) -> dict[str, object]:
    unknown = [name for name in names if name not in edit.parts]
    if unknown:
        known = ", ".join(edit.parts) or "none: it was trained without parts"
        raise InputError(f"The edit has no part '{unknown[0]}'; it knows {known}.")
    selection = edit.selection.clone()
    selection[[edit.parts.index(name) for name in names]] = 0
    if not bool(selection.max() > edit.threshold):
        raise InputError(f"Without {', '.join(names)} nothing is left of the edit; keep the part that it acts on.")
    return {"selection": selection}


def _single(mask: Tensor, what: str) -> Tensor:
    mask = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    if mask.ndim != 2:
        raise InputError(f"{what} holds masks {list(mask.shape)}; one mask [h, w] for all pictures is expected.")
    if not bool(mask.amax() > 0):
        raise InputError(f"The mask {what} is empty; draw where the edit shall show, or disconnect it.")
    return mask.float().clamp(0, 1).cpu()
