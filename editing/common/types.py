"""Values of the sockets that nodes pass on: latents, edit directions and strengths.

Frozen, and compared by identity (tensors do not compare). A value that exists is valid: every shape below was checked
when it was made, and a wrong one is refused with a sentence. Tensors stay on the device they were made on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.code_range import LARGEST_CODE, LARGEST_WEIGHT, check_range
from ...models.errors import InputError
from ...models.printable import printable_logger

__all__ = ["EditDirection", "EditStrength", "GanLatent", "check_family", "check_rows"]

log = printable_logger(__name__)


@dataclass(frozen=True, eq=False)
class GanLatent:
    """Codes of W+, one per picture (socket GAN_LATENT).

    Args:
        codes: [B, L, D] floating point; row l feeds layer l of the generator.
        names: B names of the pictures the codes came from; left out: "#1", "#2", ...
        family: the generator family of the codes, "" when unknown.

    Raises:
        InputError: another shape, no codes, NaN, infinite or absurdly large codes, or another number of names.
    """

    codes: Tensor
    names: Sequence[str] = ()
    family: str = ""

    def __post_init__(self) -> None:
        _check_tensor("A latent", self.codes, "[B, L, D] (pictures, rows of W+, width)", 3)
        names = tuple(str(name) for name in self.names) or tuple(f"#{k + 1}" for k in range(len(self.codes)))
        if len(names) != len(self.codes):
            raise InputError(f"A latent of {len(self.codes)} codes needs as many names; got {len(names)}.")
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        """B, the number of codes."""
        return self.codes.shape[0]

    @property
    def num_layers(self) -> int:
        """L, the rows of W+."""
        return self.codes.shape[1]

    @property
    def w_dim(self) -> int:
        """D, the width of a row."""
        return self.codes.shape[2]


@dataclass(frozen=True, eq=False)
class EditDirection:
    """One edit, ready for any code of its family (socket EDIT_DIRECTION).

    With v the normal and d the direction, both on the edited rows alone, v . w is how much of the attribute a code
    has; moving by alpha * d changes it by alpha * (v . d).

    Args:
        direction: d [L, D], what is added to a code; rows outside `layers` are set to zero.
        normal: v [L, D], the attribute's normal; equal to d in the paper's form (2401.10219).
        layers: the edited rows of W+, ascending; left out: all.
        start: v . w of the example before its edit; None without an example.
        offset: v . w of the edited example, the hyperplane that every picture should land on; None without an example.
        method: how it was made, for people and files.
        family: the generator family it belongs to, "" when unknown.
        name: what it does, for people and files.
        example: [2, L, D], the example's code before and after its edit, where it is known.
        score: what measures the attribute on pictures (an `AttributeScore`), where it is known; files do not hold it.
        note: what a report of strengths should say about its example; files do not hold it.

    Raises:
        InputError: shapes differ, a row does not exist, numbers are absurdly large, or nothing of d or v is left on the
            edited rows.
    """

    direction: Tensor
    normal: Tensor
    layers: Sequence[int] = ()
    start: float | None = None
    offset: float | None = None
    method: str = ""
    family: str = ""
    name: str = "edit"
    example: Tensor | None = None
    score: object | None = None
    note: str = ""

    def __post_init__(self) -> None:
        _check_tensor("An edit direction", self.direction, "[L, D] (rows of W+, width)", 2)
        _check_tensor("The normal of an edit direction", self.normal, "[L, D] (rows of W+, width)", 2, LARGEST_WEIGHT)
        if self.direction.shape != self.normal.shape:
            raise InputError(
                f"An edit direction {list(self.direction.shape)} and its normal {list(self.normal.shape)} "
                "must have the same shape [L, D]."
            )
        rows = check_rows(self.layers or range(len(self.direction)), len(self.direction), "The edit direction")
        object.__setattr__(self, "layers", rows)
        for field, tensor in (("direction", self.direction), ("normal", self.normal)):
            if not bool(tensor[list(rows)].abs().max() > 0):
                raise InputError(
                    f"The edit's {field} is zero on its rows {_short(rows)}: the example and its edit are equal there. "
                    "Make a visible change, or choose other rows."
                )
            object.__setattr__(self, field, _only_rows(tensor, rows))
        if self.example is not None and self.example.shape != (2, *self.direction.shape):
            raise InputError(f"The example's codes must have shape [2, L, D]; got {list(self.example.shape)}.")

    @property
    def has_example(self) -> bool:
        """True where the example's state before and after its edit is known."""
        return self.start is not None and self.offset is not None

    def with_offset(self, offset: float) -> EditDirection:
        """Return the same direction with another hyperplane to land on, v . w = offset."""
        return replace(self, offset=offset)


@dataclass(frozen=True, eq=False)
class EditStrength:
    """The strengths alpha_i by which pictures move along a direction (socket EDIT_STRENGTH).

    Args:
        alpha: [B] floating point, in lengths of the direction.
        clamped: [B] bool, which pictures would have needed more than was allowed; left out: none.
        method: how it was computed, for people and files.
        family: the generator family of the direction, "" when unknown.
        confidence: [B] in 0..1, how certain each picture's final state is, where it was measured; else None.

    Raises:
        InputError: another shape, no finite number, or an absurdly large one.
    """

    alpha: Tensor
    clamped: Tensor | None = None
    method: str = "given"
    family: str = ""
    confidence: Tensor | None = None

    def __post_init__(self) -> None:
        _check_tensor("The edit strengths", self.alpha, "[B] (one number per picture)", 1, LARGEST_WEIGHT)
        if self.clamped is None:
            object.__setattr__(self, "clamped", torch.zeros_like(self.alpha, dtype=torch.bool))
        elif self.clamped.shape != self.alpha.shape or self.clamped.dtype != torch.bool:
            raise InputError(
                f"The marks of clamped strengths must be bool of shape {list(self.alpha.shape)}; "
                f"got {self.clamped.dtype} of {list(self.clamped.shape)}."
            )

    def __len__(self) -> int:
        """B, the number of pictures."""
        return self.alpha.shape[0]


def check_rows(rows: Sequence[int], count: int, owner: str) -> tuple[int, ...]:
    """Return row numbers ascending and once each.

    Args:
        count: L, the rows there are.
        owner: of the rows, for the sentence: "A latent".

    Raises:
        InputError: a row outside 0..count-1, or none.
    """
    numbers = tuple(sorted({int(row) for row in rows}))
    if not numbers or numbers[0] < 0 or numbers[-1] >= count:
        raise InputError(f"{owner} has the rows 0 to {count - 1}; got {list(rows)}. Choose among those.")
    return numbers


def check_family(first: str, second: str, name_first: str, name_second: str) -> None:
    """Refuse two values of different generator families; an unknown one ("") passes with a warning.

    Args:
        first, second: the families.
        name_first, name_second: of the two values, for the sentence.

    Raises:
        InputError: the sentence names both families.
    """
    if first and second and first != second:
        raise InputError(
            f"{name_first} belongs to the generator family '{first}', {name_second} to '{second}'. "
            "They only work together within one family: make both with the same generator."
        )
    if not (first and second):
        log.warning("%s and %s: one names no generator family, so only their shapes were compared.",
                    name_first, name_second)  # fmt: skip


def _check_tensor(name: str, tensor: Tensor, expected: str, dimensions: int, largest: float = LARGEST_CODE) -> None:
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} must be a tensor {expected}; got {type(tensor).__name__}.")
    if tensor.ndim != dimensions or 0 in tensor.shape or not tensor.is_floating_point():
        raise InputError(f"{name} must be floating point {expected}; got {tensor.dtype} of shape {list(tensor.shape)}.")
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"{name} contains numbers that are not finite; the step that made it went wrong.")
    check_range(name, tensor, largest)


def _only_rows(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Return [L, D] with zeros outside ``rows``."""
    if len(rows) == tensor.shape[0]:
        return tensor
    masked = torch.zeros_like(tensor)
    masked[list(rows)] = tensor[list(rows)]
    return masked


def _short(rows: Sequence[int]) -> str:
    return f"{rows[0]}" if len(rows) == 1 else f"{rows[0]} to {rows[-1]}"
