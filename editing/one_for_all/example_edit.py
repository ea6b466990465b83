"""The example edit as a direction: the difference of its two codes, and its values along a normal."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.inference import clone_from_inference, no_inference_mode
from ..common.types import EditDirection, check_family
from ..text.edit import TextEdit, check_edit_fits

# An edit smaller than this share of the code's own length is rounding, not an edit.
_SMALLEST_EDIT = 1e-5
_SMALLEST_COSINE = 1e-2  # between an edit and the normal that shall measure it


def record_edit(
    generator: GanGenerator,
    w_start: Tensor,  # [L, D] or [1, L, D]: the example before
    w_edited: Tensor,  # the same shape: the example after
    layers: Sequence[int] | None = None,  # rows of W+ that take part; None: those that the edit changed
    name: str = "edit",
    measured_by: EditDirection | None = None,  # an attribute whose normal measures what was edited
) -> EditDirection:
    """Record the difference of two codes as a direction, with its own normal or another's.

    Raises:
        InputError: the shapes do not fit the generator, nothing was edited, or the edit does not change what
            `measured_by` measures.
    """
    start, edited = single_code(generator, w_start, "The start"), single_code(generator, w_edited, "The edited code")
    with no_inference_mode():
        difference = edited - start
        rows = edited_rows(difference, layers)
        normal, method = difference, "difference"
        if measured_by is not None:
            normal = _normal_on_rows(measured_by, generator, rows, difference)
            method = f"difference, measured by '{measured_by.name}'"
        return with_example(difference, normal, rows, start, edited, method, generator.family, name)


def record_text_edit(
    generator: GanGenerator,
    w_start: Tensor,  # [L, D] or [1, L, D]: the example
    edit: TextEdit,
    layers: Sequence[int] | None = None,  # rows that take part; None: those that the edit uses
    name: str = "edit",
    measured_by: EditDirection | None = None,  # as in `record_edit`
) -> EditDirection:
    """Record a text edit at strength 1 on one example, so that everybody else reaches the state the example gets.

    Rows in which the edit shows nowhere take no part.

    Raises:
        InputError: an edit of another generator, or as `record_edit`.
    """
    check_edit_fits(edit, generator)
    start = single_code(generator, w_start, "The start")
    with no_inference_mode():
        edited = edit.changed(start[None])[0]
    used = edit.direction().layers
    rows = used if layers is None else [row for row in layers if row in used]
    if not rows:
        raise InputError(f"None of the rows {list(layers)} is used by '{edit.prompt}'; it changes {list(used)}.")
    return record_edit(generator, start, edited, rows, name, measured_by)


def _normal_on_rows(attribute: EditDirection, generator: GanGenerator, rows: Sequence[int], edit: Tensor) -> Tensor:
    """Move the attribute's normal [L, D] to the edited rows, which share what it gives to other rows.

    In W all rows are equal, so that sharing changes no value; it keeps the attribute whole where few rows are edited.
    """
    check_family(attribute.family, generator.family, f"The direction '{attribute.name}'", "the generator")
    if attribute.normal.shape != edit.shape:
        raise InputError(
            f"The direction '{attribute.name}' has shape {list(attribute.normal.shape)}, the codes {list(edit.shape)}; "
            "it belongs to another generator."
        )
    full_normal, mask = attribute.normal.to(edit), row_mask(rows, edit)
    outside = (full_normal * (1 - mask)).sum(dim=0)
    normal = (full_normal + outside / len(rows)) * mask
    if abs(float((normal * edit).sum())) < _SMALLEST_COSINE * float(normal.norm() * edit.norm()):
        raise InputError(
            f"The edit hardly changes what '{attribute.name}' measures. Connect the direction that the example was "
            "edited with, or none."
        )
    return normal


def with_example(
    direction: Tensor,  # [L, D]
    normal: Tensor,  # [L, D]
    rows: tuple[int, ...],
    start: Tensor,  # [L, D], the example before its edit
    edited: Tensor,  # [L, D], and after
    method: str,
    family: str,
    name: str,
) -> EditDirection:
    """Build a direction whose start and target are the example's projections on ``normal`` over the edited rows."""
    mask = row_mask(rows, direction)
    direction, normal = direction * mask, normal * mask
    return EditDirection(
        direction=direction,
        normal=normal,
        layers=rows,
        start=float((normal * start).sum()),
        offset=float((normal * edited).sum()),
        method=method,
        family=family,
        name=name,
        example=torch.stack([start, edited]),
    )


def single_code(generator: GanGenerator, code: Tensor, name: str) -> Tensor:
    """Return one code [L, D] or [1, L, D] as [L, D] on the generator's device.

    Args:
        name: of the code, for the sentence.

    Raises:
        InputError: another shape or number of codes, or values that are not finite.
    """
    code = code[None] if code.ndim == 2 else code
    if code.ndim != 3 or code.shape[0] != 1:
        raise InputError(f"{name} must be one code of shape [L, D]; got {tuple(code.shape)}. Select one picture first.")
    generator.check_latent(code, "", name)
    if not bool(torch.isfinite(code).all()):
        raise InputError(f"{name} holds values that are not finite (NaN or infinity); make it again.")
    return clone_from_inference(code.to(generator.device, torch.float32))[0]


def edited_rows(difference: Tensor, layers: Sequence[int] | None) -> tuple[int, ...]:
    """Return the rows of W+ an edit acts on: those of ``layers``, else where ``difference`` [L, D] is not zero.

    Raises:
        InputError: rows that do not exist, or rows on which nothing was edited.
    """
    count = difference.shape[0]
    if layers is None:
        lengths = difference.norm(dim=1)
        changed = lengths > _SMALLEST_EDIT * lengths.max().clamp(min=1e-12)
        rows = tuple(torch.nonzero(changed)[:, 0].tolist())
    else:
        rows = tuple(sorted({int(k) for k in layers}))
        if not rows or rows[0] < 0 or rows[-1] >= count:
            raise InputError(f"Rows {list(layers)} were asked for; this generator has rows 0 to {count - 1}.")
    length = float(difference[list(rows)].norm()) if rows else 0.0
    if length < _SMALLEST_EDIT * difference.shape[1] ** 0.5:
        where = "" if layers is None else f" in rows {rows[0]} to {rows[-1]}"
        raise InputError(
            f"The two codes are equal{where}, so there is no edit to record. Change the example first, "
            "and connect its code before the edit to 'start' and after it to 'edited'."
        )
    return rows


def row_mask(rows: Sequence[int], like: Tensor) -> Tensor:
    """Return [L, 1] of ones at ``rows`` and zeros elsewhere, for ``like`` [L, D]."""
    mask = torch.zeros(like.shape[0], 1, dtype=like.dtype, device=like.device)
    mask[list(rows)] = 1
    return mask
