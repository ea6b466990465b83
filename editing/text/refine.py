"""Refinement of a text edit by hand: its rows, parts, threshold and region."""

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
    """Give an edit less or more room to act, as a new edit.

    A text edit serves any picture, so masks drawn by hand hold for all of them.

    Raises:
        InputError: rows or parts it does not have, nothing left of it, or masks of several pictures.
    """
    changes: dict[str, object] = {}
    if rows is not None:
        used_rows = [row for row in rows if row in edit.rows]
        if not used_rows:
            raise InputError(f"None of the rows {list(rows)} is used by this edit; it changes {list(edit.rows)}.")
        changes["rows"] = used_rows
    if drop_parts:
        changes |= _drop_parts(edit, drop_parts)
    if threshold is not None:
        changes["threshold"] = threshold
    for name, mask in (("region", region), ("extra", extra)):
        if mask is not None:
            changes[name] = _single_mask(mask, "only_here" if name == "region" else "also_here")
    refined = edit.refined(**changes)
    if refined.selection is not None and refined.extra is None and not refined.acting_parts():
        raise InputError(
            f"Nothing is left of the edit: in its rows {list(refined.rows)} no part is selected by more than "
            f"{float(refined.selection[:, list(refined.rows)].max()):.2f}, and the threshold is {refined.threshold:g}. "
            "Lower threshold, or change rows or drop_parts."
        )
    return refined


def _drop_parts(edit: TextEdit, names: Sequence[str]) -> dict[str, object]:
    unknown = [name for name in names if name not in edit.parts]
    if unknown:
        known = ", ".join(edit.parts) or "none: it was trained without parts"
        raise InputError(f"drop_parts names '{unknown[0]}', which is no part of the edit; it knows {known}.")
    selection = edit.selection.clone()
    selection[[edit.parts.index(name) for name in names]] = 0
    if not bool(selection.max() > edit.threshold):
        raise InputError(
            f"Without {', '.join(names)} nothing is left of the edit; take the part that it acts on out of drop_parts."
        )
    return {"selection": selection}


def _single_mask(mask: Tensor, name: str) -> Tensor:
    """Return a mask [h, w] or [1, h, w] as [h, w] in 0..1 on the CPU."""
    mask = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    if mask.ndim != 2:
        raise InputError(f"{name} holds masks {list(mask.shape)}; one mask [h, w] for all pictures is expected.")
    if not bool(mask.amax() > 0):
        raise InputError(f"The mask {name} is empty; draw where the edit shall show, or disconnect it.")
    return mask.float().clamp(0, 1).cpu()
