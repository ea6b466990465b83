"""Recognition of arrays that are no network: edit directions or codes, told by all names beside them and by the shape.

Where both would do, the file is refused until `--component` says which it is: a code taken for a direction runs as well
as a direction does, and means nothing.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import CheckpointError
from .assemble import float_tensor
from .codes import BESIDE_CODES, CODE_NAMES, MAX_ROWS, ForeignCodes, find_projections, read_codes, stack_codes
from .directions import (
    INTERCEPTS,
    NAMES,
    UNIT,
    ForeignDirections,
    find_components,
    is_plausible,
    read_boundary,
    read_direction,
    to_boundary,
)
from .stored import StoredArray, StoredTensor

LATENTS, DIRECTION = "latents", "direction"
_CHOICE = "say which with --component latents or --component direction (in the node: content)"


def find_arrays(
    content: Any, component: int | str | None = None, plain_array: bool = False
) -> ForeignDirections | ForeignCodes | None:
    """Read the directions or the codes in a file's content.

    Args:
        content: the file, as plain data.
        component: LATENTS or DIRECTION where the user has said it; a number means a direction.
        plain_array: the file is numpy's, as InterFaceGAN's are; its unit vectors are read as boundaries.

    Returns:
        Directions or codes; None when the names or the values are something else.

    Raises:
        CheckpointError: when it could be either, when several arrays could be it, or when its numbers cannot be one.
    """
    if isinstance(content, list | tuple) and len(content) == 1:
        content = content[0]
    if isinstance(content, StoredTensor | StoredArray):
        return _from_array(content, component, plain_array)
    if not isinstance(content, dict) or not content:
        return None
    named = find_components(content) or find_projections(content)
    if named is not None:
        return _of_kind(named, component)
    arrays = {str(name): v for name, v in content.items() if isinstance(v, StoredTensor | StoredArray)}
    directions = [name for name in NAMES if name in arrays]
    codes = [name for name in CODE_NAMES if name in arrays]
    if "w" in codes and set(arrays) <= {"w", *INTERCEPTS} and len(content) > 1:
        return _from_boundary(arrays["w"], "w", content, component)  # w . x + b: a hyperplane
    if len(directions) == 1 and set(arrays) <= {*directions, *INTERCEPTS}:
        return _from_boundary(arrays[directions[0]], directions[0], content, component)
    if len(codes) == 1 and set(arrays) <= {*codes, *BESIDE_CODES}:
        return _of_kind(read_codes(arrays[codes[0]], codes[0]), component, arrays[codes[0]], codes[0])
    return _from_unknown_names(content, arrays, component, plain_array)


def _from_unknown_names(
    content: dict, arrays: dict[str, Any], component: int | str | None, plain_array: bool
) -> ForeignDirections | ForeignCodes | None:
    """Read an array that lies alone in its file, whatever its name; several are left to the user."""
    if len(arrays) != len(content) or any(_is_weight_name(name) for name in arrays):
        return None
    if component != LATENTS and any("." in name for name in arrays):
        return None  # of a network; codes may have the names of pictures
    if not all(is_plausible(value) for value in arrays.values()):
        return None
    if len(arrays) == 1:
        return _from_array(next(iter(arrays.values())), component, plain_array)
    if component == LATENTS:
        return stack_codes(arrays, "codes by name")
    listed = ", ".join(name[:30] for name in list(arrays)[:6])
    raise CheckpointError(
        f"holds several arrays that could be the direction ({listed}); save the wanted one alone, or, if each is the "
        "code of a picture, add --component latents"
    )


def _is_weight_name(name: str) -> bool:
    return re.split(r"[._]", name)[-1] in ("weight", "bias", "avg", "mean", "var", "std")


def _from_array(
    value: StoredTensor | StoredArray, component: int | str | None, plain_array: bool
) -> ForeignDirections | ForeignCodes:
    """Read an array without a name."""
    if component is None:
        component = _kind_by_shape(value)
    if component == LATENTS:
        return read_codes(value, "latents")
    directions = read_direction(value, "direction")
    return to_boundary(directions) if plain_array else directions


def _kind_by_shape(value: StoredTensor | StoredArray) -> str:
    """Return LATENTS or DIRECTION; refuse a shape that both may have."""
    shape = list(value.shape)
    rows = shape[-2] if len(shape) > 1 else 1
    if not is_plausible(value) or rows == 1 and (len(shape) < 3 or shape[0] == 1):
        return DIRECTION
    if len(shape) == 3 and shape[0] > 1 and 1 < rows <= MAX_ROWS:
        return LATENTS
    if len(shape) == 2 and rows > MAX_ROWS and rows != shape[1]:
        return LATENTS
    if _steps_like_a_direction(value):
        return DIRECTION
    several = "codes, or several directions" if rows == 1 or rows > MAX_ROWS else "a code of W+, or an edit direction"
    raise CheckpointError(f"has the shape {shape}, which may be {several}; {_CHOICE}")


def _steps_like_a_direction(value: StoredTensor | StoredArray) -> bool:
    """Return whether some rows are zero, or the length is 1: edits spare rows and are normalised, codes never are."""
    lengths = float_tensor(value, "the array").flatten(0, -2).norm(dim=1)
    unit = abs(float(lengths.norm()) - 1) < UNIT or bool(((lengths - 1).abs() < UNIT).all())
    return unit or bool((lengths == 0).any())


def _from_boundary(value: Any, name: str, content: dict, component: int | str | None) -> Any:
    """Read an array that is named as a direction, with its intercept where there is one."""
    if component == LATENTS:
        return read_codes(value, name)
    return read_boundary(value, name, content)


def _of_kind(
    arrays: ForeignDirections | ForeignCodes,
    component: int | str | None,
    value: StoredTensor | StoredArray | None = None,
    name: str = "",
) -> ForeignDirections | ForeignCodes:
    """Return the arrays; refuse them where the user asked for the other kind and they cannot be read as that."""
    if isinstance(arrays, ForeignCodes) and component not in (None, LATENTS):
        if value is not None and component == DIRECTION:
            return read_direction(value, name)
        raise CheckpointError(f"holds {arrays.layout}, no directions")
    if isinstance(arrays, ForeignDirections) and component == LATENTS:
        raise CheckpointError(f"holds {arrays.layout} of an analysis, no codes")
    return arrays
