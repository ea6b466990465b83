"""Known attribute directions: fitted to a generator, and slid along to make the edit that the batch will follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.types import EditDirection, check_rows
from .closed_form import SMALLEST_COSINE, apply_edit
from .example_edit import row_mask
from .render_and_correct import standard_deviation

CLEAR_STATE = 2.0  # standard deviations of an attribute from the average picture: plain to see, and common enough


def fit_to_generator(
    generator: GanGenerator,
    direction: Tensor,  # [L, D], or [1, D] for the same step in every row
    normal: Tensor | None = None,  # likewise; None: the direction
    layers: Sequence[int] | None = None,  # None: all rows
    start: float | None = None,  # v . w of the example before its edit
    offset: float | None = None,  # and after
    method: str = "",
    family: str = "",
    name: str = "direction",
    example: Tensor | None = None,  # [2, L, D]
    rows: Sequence[int] | None = None,  # act on these instead of the saved ones
) -> EditDirection:
    """Build a direction of this generator from the fields of a direction file.

    A file of one row [1, D] fits any number of rows; its start and offset are those of one row and grow with them.

    Raises:
        InputError: the width, the number of rows or the family is another generator's.
    """
    normal = direction if normal is None else normal
    count, width = generator.num_layers, generator.w_dim
    if direction.shape[1] != width or direction.shape[0] not in (1, count):
        raise InputError(
            f"The direction '{name}' has shape {tuple(direction.shape)}; the generator '{generator.name}' expects "
            f"[{count}, {width}] or [1, {width}]. It belongs to another generator."
        )
    if family and family != generator.family:
        raise InputError(
            f"The direction '{name}' belongs to the generator family '{family}', but '{generator.name}' is of the "
            f"family '{generator.family}'. Codes and directions only work within one family."
        )
    saved = tuple(range(count)) if layers is None else tuple(layers)
    if max(saved) >= count:
        raise InputError(f"The direction '{name}' acts on row {max(saved)}; this generator has rows 0 to {count - 1}.")
    layers = saved if rows is None else check_rows(rows, count, f"The generator '{generator.name}'")
    example = None if example is None or example.shape[1] != count else example.to(generator.device)
    mask = row_mask(layers, torch.empty(count, 1))
    normal = (normal.expand(count, width) * mask).to(generator.device)
    if direction.shape[0] == 1 and start is not None and offset is not None:
        start, offset = start * len(layers), offset * len(layers)
    elif set(layers) != set(saved):
        # Fewer rows hold less of v . w: the saved values would be another state.
        start, offset = (float((normal * code).sum()) for code in example) if example is not None else (None, None)
    return EditDirection(
        direction=(direction.expand(count, width) * mask).to(generator.device),
        normal=normal,
        layers=layers,
        start=start,
        offset=offset,
        method=method,
        family=generator.family,
        name=name,
        example=example,
    )


def with_average_example(generator: GanGenerator, edit: EditDirection) -> EditDirection:
    """Give an edit without example the average picture as its example, moved to `CLEAR_STATE` standard deviations.

    So that a strength of 0 is the average picture and 1 a clear change, for every direction from a file. An edit that
    has an example, or that does not move what its own normal measures, is returned as it is.
    """
    gain = float((edit.normal * edit.direction).sum())
    lengths = float(edit.normal.norm() * edit.direction.norm())
    if edit.has_example or abs(gain) < SMALLEST_COSINE * lengths:
        return edit
    before = generator.w_mean.to(edit.direction).expand_as(edit.direction)
    after = before + CLEAR_STATE * standard_deviation(generator, edit) / abs(gain) * edit.direction
    start, offset = (float((edit.normal * code).sum()) for code in (before, after))
    note = (
        f"'{edit.name}' comes without an example, so the generator's average picture is taken for it: strength 0 is "
        f"the average, 1 is {CLEAR_STATE:g} standard deviations from it."
    )
    return replace(edit, start=start, offset=offset, example=torch.stack([before, after]), note=note)


def slide_attribute(
    w: Tensor,  # [1, L, D]
    direction: EditDirection,
    amount: float,  # lengths of the direction; negative for the opposite
    rows: Sequence[int] | None = None,  # None: the direction's own rows
) -> Tensor:
    """Move the example along ``direction``: [1, L, D].

    Raises:
        InputError: an amount of 0, which is no edit, or rows on which the direction does not act.
    """
    if amount == 0:
        raise InputError("An amount of 0 leaves the example as it is; move the slider to make an edit.")
    if rows is not None:
        restricted = direction.direction.clone()
        restricted[list(set(direction.layers) - set(rows))] = 0
        if not bool(restricted.any()):
            raise InputError(f"The direction '{direction.name}' acts on rows {list(direction.layers)} only.")
        direction = replace(direction, direction=restricted)
    return apply_edit(w, direction, torch.tensor([float(amount)]))
