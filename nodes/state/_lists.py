"""Lists of ComfyUI at inputs that take them whole: one value of a list, pictures of many batches, numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...editing.common.pictures import check_pictures
from ...host import current
from ...models.code_range import is_number
from ...models.errors import InputError
from ..common.images import from_image_batch


def single(values: Sequence[Any] | None, name: str) -> Any:
    """Return the one value of an input that takes lists whole; None where nothing is connected.

    Raises:
        InputError: several values.
    """
    if values is None or len(values) == 0:
        return None
    if len(values) > 1:
        raise InputError(f"The input '{name}' got a list of {len(values)}; expected one.")
    return values[0]


def numbers_of(values: Sequence[Any] | None, name: str, unreadable: bool = False) -> list[float]:
    """Return a list of numbers, each of which may come as a list of its own.

    Args:
        unreadable: let not-a-number pass: the reading of a picture that cannot be read.

    Raises:
        InputError: what is no finite number.
    """
    numbers: list[float] = []
    for value in values or ():
        for number in value if isinstance(value, list | tuple) else (value,):
            if not is_number(number) or not (math.isfinite(number) or unreadable and math.isnan(number)):
                raise InputError(f"The input '{name}' has {str(number)[:40]} in its list; expected finite numbers.")
            numbers.append(float(number))
    return numbers


def joined_images(batches: Sequence[Tensor], name: str) -> Tensor:
    """Join IMAGE batches of a list in their order: [B, H, W, 3].

    Raises:
        InputError: another shape, or pictures of different sizes.
    """
    for images in batches:
        check_pictures(images, f"The {name}")
    sizes = sorted({(images.shape[2], images.shape[1]) for images in batches})
    if len(sizes) > 1:
        shown = " and ".join(f"{width} x {height}" for width, height in sizes[:2])
        raise InputError(f"The {name} have different sizes, such as {shown}; resize them to one before they are read.")
    return torch.cat([images[..., :3].to(current().result_device()) for images in batches])


def joined_pictures(batches: Sequence[Tensor], name: str) -> Tensor:
    """Join IMAGE batches of a list in their order, as readers take them: [B, 3, H, W] in -1..1."""
    return from_image_batch(joined_images(batches, name))
