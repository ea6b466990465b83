"""One edit, seen as a direction: what the example was, what it became, and where that leaves its attribute."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..models.errors import InputError
from ..models.generator import GanGenerator
from ..models.inference import building, rehome
from .types import EditDirection

# An edit smaller than this share of the code's own length is rounding, not an edit.
_SMALLEST_EDIT = 1e-5


def record_edit(
    generator: GanGenerator,
    w_start: Tensor,  # [L, D] or [1, L, D]: the example before
    w_edited: Tensor,  # the same shape: the example after
    layers: Sequence[int] | None = None,  # rows of W+ that take part; None: those that the edit changed
    name: str = "edit",
) -> EditDirection:
    """The plain difference of two codes as a direction, its own normal, and the example's values along it.

    Raises InputError when the shapes do not fit the generator, or when nothing was edited.
    """
    start, edited = single_code(generator, w_start, "The start"), single_code(generator, w_edited, "The edited code")
    with building():
        difference = edited - start
        rows = edited_rows(difference, layers)
        return with_example(difference, difference, rows, start, edited, "difference", generator.family, name)


def with_example(
    direction: Tensor,  # [L, D]
    normal: Tensor,  # [L, D]
    rows: tuple[int, ...],
    start: Tensor,  # [L, D]
    edited: Tensor,  # [L, D]
    method: str,
    family: str,
    name: str,
) -> EditDirection:
    """A direction whose start and target are the example's projections on ``normal`` over the edited rows."""
    inside = row_mask(rows, direction)
    direction, normal = direction * inside, normal * inside
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


def single_code(generator: GanGenerator, code: Tensor, what: str) -> Tensor:
    """One code as [L, D] on the generator's device, checked against the generator."""
    code = code[None] if code.ndim == 2 else code
    if code.ndim != 3 or code.shape[0] != 1:
        raise InputError(f"{what} must be one code of shape [L, D]; got {tuple(code.shape)}. Select one picture first.")
    generator.check_latent(code, "", what)
    if not bool(torch.isfinite(code).all()):
        raise InputError(f"{what} holds values that are not finite (NaN or infinity); make it again.")
    return rehome(code.to(generator.device, torch.float32))[0]


def edited_rows(difference: Tensor, layers: Sequence[int] | None) -> tuple[int, ...]:
    """The rows of W+ an edit acts on: those given, else those in which ``difference`` [L, D] is not zero."""
    count = difference.shape[0]
    if layers is None:
        sizes = difference.norm(dim=1)
        rows = tuple(int(k) for k in torch.nonzero(sizes > _SMALLEST_EDIT * sizes.max().clamp(min=1e-12)).flatten())
    else:
        rows = tuple(sorted({int(k) for k in layers}))
        if not rows or rows[0] < 0 or rows[-1] >= count:
            raise InputError(f"Rows {list(layers)} were asked for; this generator has rows 0 to {count - 1}.")
    size = float(difference[list(rows)].norm()) if rows else 0.0
    if size < _SMALLEST_EDIT * difference.shape[1] ** 0.5:
        where = "" if layers is None else f" in rows {rows[0]} to {rows[-1]}"
        raise InputError(
            f"The two codes are equal{where}, so there is no edit to record. Change the example first, "
            "and connect its code before the edit to 'start' and after it to 'edited'."
        )
    return rows


def row_mask(rows: Sequence[int], like: Tensor) -> Tensor:
    """[L, 1] of ones at ``rows`` and zeros elsewhere."""
    mask = torch.zeros(like.shape[0], 1, dtype=like.dtype, device=like.device)
    mask[list(rows)] = 1
    return mask
