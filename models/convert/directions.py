"""Edit directions of other projects: InterFaceGAN boundaries, e4e and PTI edits, GANSpace and SeFa components.

What is read: one vector [D], [1, D], rows of W+ [L, D], [1, L, D], and lists of components [K, 1, D], or a file that
names one of these among other things.

What these projects mean by a strength is kept as the direction's states, where the file tells it. An InterFaceGAN
boundary (1907.10786) is a normal: n . w is a code's distance, 0 lies on the boundary. A GANSpace component
(2004.02546) with its mean and deviation says how many deviations a code is from the mean, (u . (w - mean)) / std, and
e4e's editor brings every code to the same number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .assemble import numbers
from .stored import StoredArray, StoredTensor, plain_number

MIN_WIDTH = 8  # narrower vectors are labels or statistics, not directions of a W space
# Where projects keep components, their deviations and the mean: GANSpace, e4e's copy of it, rosinality's SeFa (whose
# components are columns).
_COMPONENTS = {"lat_comp": ("lat_stdev", "lat_mean"), "comp": ("std", "mean"), "eigvec": ("", "")}
_NAMES = ("direction", "boundary", "delta", "latent_direction", "edit_direction", "w")
_INTERCEPTS = ("intercept", "bias")
_UNIT = 1e-3  # how far a unit vector's length may be from 1
BOUNDARY = "boundary (InterFaceGAN)"


@dataclass(frozen=True, eq=False)
class FoundDirection:
    """One direction, [L, D] or [1, D], with what the file tells of its normal and of the states 0 and 1 (v . w)."""

    direction: Tensor
    normal: Tensor | None = None
    start: float | None = None
    offset: float | None = None
    method: str = "imported"


@dataclass(eq=False)
class FoundDirections:
    """One or more directions."""

    layout: str
    directions: list[FoundDirection]
    source_shape: list[int]


def find_directions(content: Any, plain_array: bool = False) -> FoundDirections | None:
    """The directions in a file's content, None when nothing there has the shape of one.

    plain_array: the file is numpy's, as InterFaceGAN's are; its unit vectors are read as boundaries.
    """
    if isinstance(content, list | tuple) and len(content) == 1:
        content = content[0]
    if isinstance(content, StoredTensor | StoredArray):
        found = _from_array(content, "direction")
        return _as_boundary(found, 0.0) if plain_array and _is_unit_vector(found) else found
    if not isinstance(content, dict):
        return None
    for name, (deviations, mean) in _COMPONENTS.items():
        value = content.get(name)
        if isinstance(value, StoredTensor | StoredArray):
            return _components(value, name, content.get(deviations), content.get(mean))
    arrays = {k: v for k, v in content.items() if isinstance(v, StoredTensor | StoredArray) and _plausible(v)}
    named = [name for name in _NAMES if name in arrays]
    chosen = named or (list(arrays) if len(content) <= 8 else [])
    if len(chosen) > 1:
        names = ", ".join(str(name)[:30] for name in chosen[:6])
        raise CheckpointError(f"holds several arrays that could be the direction ({names}); save the wanted one alone")
    if not chosen:
        return None
    found, intercept = _from_array(arrays[chosen[0]], str(chosen[0])), _intercept(content)
    one_row = len(found.directions) == 1 and len(found.directions[0].direction) == 1
    return found if intercept is None or not one_row else _as_boundary(found, intercept)


def _intercept(content: dict) -> float | None:
    """b of a hyperplane n . w + b = 0, where the file has one."""
    for name in _INTERCEPTS:
        value = content.get(name)
        value = numbers(value, name).item() if isinstance(value, StoredTensor) and value.shape in ((), (1,)) else value
        number = plain_number(value)
        if number is not None and not isinstance(number, bool) and abs(number) < float("inf"):
            return float(number)
    return None


def _is_unit_vector(found: FoundDirections) -> bool:
    first = found.directions[0].direction
    return len(found.directions) == 1 and len(first) == 1 and abs(float(first.norm()) - 1) < _UNIT


def _as_boundary(found: FoundDirections, intercept: float) -> FoundDirections:
    """State 0 lies on the hyperplane n . w + b = 0, state 1 one step of n beyond it."""
    n = found.directions[0].direction
    start = -intercept
    boundary = FoundDirection(n, n.clone(), start, start + float(n.square().sum()), BOUNDARY)
    return FoundDirections("boundary", [boundary], found.source_shape)


def _plausible(value: StoredTensor | StoredArray) -> bool:
    shape = value.shape
    return 1 <= len(shape) <= 3 and shape[-1] >= MIN_WIDTH and all(shape)


def _from_array(value: StoredTensor | StoredArray, name: str) -> FoundDirections:
    shape = list(value.shape)
    if not _plausible(value):
        raise CheckpointError(f"has the shape {shape}; a direction is [D], [1, D], [L, D] or [1, L, D]")
    if len(shape) == 3 and shape[0] > 1 and shape[1] > 1:
        raise CheckpointError(
            f"has the shape {shape}, a list of codes; a direction is [D], [1, D], [L, D] or [1, L, D]"
        )
    tensor = _checked(numbers(value, name))
    if tensor.ndim == 3:
        parts = list(tensor) if shape[1] == 1 else [tensor[0]]
    else:
        parts = [tensor.reshape(-1, tensor.shape[-1])]
    layout = "components" if len(parts) > 1 else "direction"
    return FoundDirections(layout, [FoundDirection(part) for part in parts], shape)


def _components(value: StoredTensor | StoredArray, name: str, deviations: Any, mean: Any) -> FoundDirections:
    """[K, 1, D] or [K, D]; SeFa's eigenvectors are columns [D, K]."""
    shape = list(value.shape)
    tensor = numbers(value, name)
    if name == "eigvec" and tensor.ndim == 2:
        tensor = tensor.t()
    if tensor.ndim == 3 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.ndim != 2 or tensor.shape[1] < MIN_WIDTH or tensor.shape[0] == 0:
        raise CheckpointError(f"has components of the shape {shape}; expected [K, 1, D] or [K, D]")
    lengths, middle = _vector(deviations, len(tensor)), _vector(mean, tensor.shape[1])
    parts = [part[None].contiguous() for part in _checked(tensor)]
    if lengths is None or not bool((lengths > 0).all()) or not bool((tensor.norm(dim=1) > 0).all()):
        return FoundDirections("components", [FoundDirection(part) for part in parts], shape)
    found = [_deviation(part, float(length), middle) for part, length in zip(parts, lengths, strict=True)]
    return FoundDirections("components with deviations", found, shape)


def _deviation(component: Tensor, length: float, mean: Tensor | None) -> FoundDirection:
    """One step is one deviation, and v . (w - mean) counts them: v . d = 1."""
    normal = component / (length * component.square().sum())
    start = None if mean is None else float((normal[0].double() * mean.double()).sum())
    return FoundDirection(component * length, normal, start, None if start is None else start + 1.0)


def _vector(value: Any, size: int) -> Tensor | None:
    """The numbers of a vector [size], in whatever shape they are saved; None when there is none of that size."""
    if not isinstance(value, StoredTensor | StoredArray):
        return None
    tensor = numbers(value, "a component's deviation or mean").reshape(-1)
    return tensor if tensor.numel() == size else None


def _checked(tensor: Tensor) -> Tensor:
    if not bool(torch.any(tensor != 0)):
        raise CheckpointError("holds only zeros, which is no direction")
    return tensor


def choose(found: FoundDirections, component: int | None) -> tuple[FoundDirection, int]:
    """One of the directions (the first unless told otherwise) and its index."""
    index = component or 0
    if not 0 <= index < len(found.directions):
        raise CheckpointError(f"holds {len(found.directions)} directions; there is no component {index}")
    return found.directions[index], index
