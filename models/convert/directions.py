"""Edit directions of other projects: InterFaceGAN boundaries, e4e and PTI edits, GANSpace and SeFa components.

What is read: one vector [D], [1, D], rows of W+ [L, D], [1, L, D], and lists of components [K, 1, D], or a file that
names one of these among other things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .assemble import numbers
from .stored import StoredArray, StoredTensor

MIN_WIDTH = 8  # narrower vectors are labels or statistics, not directions of a W space
# Where projects keep components: GANSpace (lat_comp), e4e's copy of it (comp), rosinality's SeFa (eigvec, columns).
_COMPONENTS = ("lat_comp", "comp", "eigvec")
_NAMES = ("direction", "boundary", "delta", "latent_direction", "edit_direction", "w")


@dataclass(eq=False)
class FoundDirections:
    """One or more directions, each [L, D] or [1, D]."""

    layout: str
    directions: list[Tensor]
    source_shape: list[int]


def find_directions(content: Any) -> FoundDirections | None:
    """The directions in a file's content, None when nothing there has the shape of one."""
    if isinstance(content, list | tuple) and len(content) == 1:
        content = content[0]
    if isinstance(content, StoredTensor | StoredArray):
        return _from_array(content, "direction")
    if not isinstance(content, dict):
        return None
    for name in _COMPONENTS:
        value = content.get(name)
        if isinstance(value, StoredTensor | StoredArray):
            return _components(value, name)
    arrays = {k: v for k, v in content.items() if isinstance(v, StoredTensor | StoredArray) and _plausible(v)}
    named = [name for name in _NAMES if name in arrays]
    chosen = named or (list(arrays) if len(content) <= 8 else [])
    if len(chosen) > 1:
        names = ", ".join(str(name)[:30] for name in chosen[:6])
        raise CheckpointError(f"holds several arrays that could be the direction ({names}); save the wanted one alone")
    return _from_array(arrays[chosen[0]], str(chosen[0])) if chosen else None


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
        return FoundDirections("components" if len(parts) > 1 else "direction", parts, shape)
    return FoundDirections("direction", [tensor.reshape(-1, tensor.shape[-1])], shape)


def _components(value: StoredTensor | StoredArray, name: str) -> FoundDirections:
    """[K, 1, D] or [K, D]; SeFa's eigenvectors are columns [D, K]."""
    shape = list(value.shape)
    tensor = numbers(value, name)
    if name == "eigvec" and tensor.ndim == 2:
        tensor = tensor.t()
    if tensor.ndim == 3 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.ndim != 2 or tensor.shape[1] < MIN_WIDTH or tensor.shape[0] == 0:
        raise CheckpointError(f"has components of the shape {shape}; expected [K, 1, D] or [K, D]")
    return FoundDirections("components", [part[None].contiguous() for part in _checked(tensor)], shape)


def _checked(tensor: Tensor) -> Tensor:
    if not bool(torch.any(tensor != 0)):
        raise CheckpointError("holds only zeros, which is no direction")
    return tensor


def choose(found: FoundDirections, component: int | None) -> tuple[Tensor, int]:
    """One of the directions (the first unless told otherwise) and its index."""
    index = component or 0
    if not 0 <= index < len(found.directions):
        raise CheckpointError(f"holds {len(found.directions)} directions; there is no component {index}")
    return found.directions[index].clone(), index
