"""Reader of other projects' edit directions: InterFaceGAN boundaries, e4e and PTI edits, GANSpace and SeFa components.

It reads one vector [D], [1, D], rows of W+ [L, D], [1, L, D], and lists of components [K, 1, D], or a file that names
one of these among other things.

Each project's own unit of strength is kept as the direction's states, where the file tells it. An InterFaceGAN boundary
(1907.10786) is a normal: n . w is a code's distance, 0 lies on the boundary. A GANSpace component (2004.02546) with its
mean and deviation says how many deviations a code is from the mean, (u . (w - mean)) / std, and e4e's editor brings
every code to the same number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .assemble import check_size, float_tensor
from .stored import StoredArray, StoredTensor, plain_number

MIN_WIDTH = 8  # narrower vectors are labels or statistics, not directions of a W space
# Where projects keep components, their deviations and the mean: GANSpace, e4e's copy of it, rosinality's SeFa (whose
# components are columns).
_COMPONENTS = {"lat_comp": ("lat_stdev", "lat_mean"), "comp": ("std", "mean"), "eigvec": ("", "")}
_OF_ANALYSIS = {
    "act_comp", "act_mean", "act_stdev", "lat_comp", "lat_mean", "lat_stdev", "var_ratio", "random_stdevs", "comp",
    "mean", "std", "eigvec", "eigval",
}  # fmt: skip
NAMES = ("direction", "boundary", "delta", "latent_direction", "edit_direction")
INTERCEPTS = ("intercept", "bias", "b")
UNIT = 1e-3  # how far a unit vector's length may be from 1
BOUNDARY = "boundary (InterFaceGAN)"


@dataclass(frozen=True, eq=False)
class ForeignDirection:
    """One direction, and its normal and states where the file tells them."""

    direction: Tensor  # [L, D] or [1, D]
    normal: Tensor | None = None  # v, of the same shape
    start: float | None = None  # v . w of state 0
    offset: float | None = None  # v . w of state 1
    method: str = "imported"


@dataclass(eq=False)
class ForeignDirections:
    """One or more directions of a file."""

    layout: str  # whose file it is, in words
    directions: list[ForeignDirection]
    source_shape: list[int]


def find_components(content: dict) -> ForeignDirections | None:
    """Read the components of an analysis of W, by the names of GANSpace, e4e and SeFa; None for other names.

    Raises:
        CheckpointError: when arrays of other names lie beside them, or the components' numbers cannot be directions.
    """
    for name, (deviations, mean) in _COMPONENTS.items():
        value = content.get(name)
        if isinstance(value, StoredTensor | StoredArray):
            arrays = {str(key) for key, v in content.items() if isinstance(v, StoredTensor | StoredArray)}
            unknown = sorted(arrays - _OF_ANALYSIS)
            if unknown:
                raise CheckpointError(f"holds {name!r} beside {unknown[0][:60]!r}, which is no analysis of W as known")
            return _components(value, name, content.get(deviations), content.get(mean))
    return None


def read_direction(value: StoredTensor | StoredArray, name: str) -> ForeignDirections:
    """Read an array [D], [1, D], [L, D], [1, L, D] as a direction, [K, 1, D] as a list of them.

    Raises:
        CheckpointError: for another shape, and for numbers that cannot be a direction.
    """
    return _from_array(value, name)


def read_boundary(value: StoredTensor | StoredArray, name: str, content: dict) -> ForeignDirections:
    """Read an array as `read_direction` does; with an intercept beside it, it is a boundary."""
    directions, intercept = _from_array(value, name), _intercept(content)
    one_row = len(directions.directions) == 1 and len(directions.directions[0].direction) == 1
    return directions if intercept is None or not one_row else _as_boundary(directions, intercept)


def to_boundary(directions: ForeignDirections) -> ForeignDirections:
    """Read a single vector of unit length as a boundary through 0; others stay as they are."""
    return _as_boundary(directions, 0.0) if _is_unit_vector(directions) else directions


def _intercept(content: dict) -> float | None:
    """Return b of a hyperplane n . w + b = 0, None where the file has none."""
    for name in INTERCEPTS:
        value = content.get(name)
        if isinstance(value, StoredTensor) and value.shape in ((), (1,)):
            value = float_tensor(value, name).item()
        number = plain_number(value)
        if number is not None and not isinstance(number, bool) and abs(number) < float("inf"):
            return float(number)
    return None


def _is_unit_vector(directions: ForeignDirections) -> bool:
    first = directions.directions[0].direction
    return len(directions.directions) == 1 and len(first) == 1 and abs(float(first.norm()) - 1) < UNIT


def _as_boundary(directions: ForeignDirections, intercept: float) -> ForeignDirections:
    """Read a normal n as a boundary: state 0 lies on the hyperplane n . w + b = 0, state 1 one step of n beyond it."""
    n = directions.directions[0].direction
    start = -intercept
    boundary = ForeignDirection(n, n.clone(), start, start + float(n.square().sum()), BOUNDARY)
    return ForeignDirections("boundary", [boundary], directions.source_shape)


def is_plausible(value: StoredTensor | StoredArray) -> bool:
    """Return whether an array has a shape that directions and codes have."""
    shape = value.shape
    return 1 <= len(shape) <= 3 and shape[-1] >= MIN_WIDTH and all(shape)


def _from_array(value: StoredTensor | StoredArray, name: str) -> ForeignDirections:
    shape = list(value.shape)
    if not is_plausible(value):
        raise CheckpointError(f"has the shape {shape}; a direction is [D], [1, D], [L, D] or [1, L, D]")
    if len(shape) == 3 and shape[0] > 1 and shape[1] > 1:
        raise CheckpointError(
            f"has the shape {shape}, a list of codes; a direction is [D], [1, D], [L, D] or [1, L, D]"
        )
    tensor = _check_nonzero(float_tensor(value, name))
    if tensor.ndim == 3:
        vectors = list(tensor) if shape[1] == 1 else [tensor[0]]
    else:
        vectors = [tensor.reshape(-1, tensor.shape[-1])]
    layout = "components" if len(vectors) > 1 else "direction"
    return ForeignDirections(layout, [ForeignDirection(vector) for vector in vectors], shape)


def _components(value: StoredTensor | StoredArray, name: str, deviations: Any, mean: Any) -> ForeignDirections:
    """Read components [K, 1, D] or [K, D]; SeFa's eigenvectors are columns [D, K]."""
    shape = list(value.shape)
    tensor = float_tensor(value, name)
    if name == "eigvec" and tensor.ndim == 2:
        tensor = tensor.t()
    if tensor.ndim == 3 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.ndim != 2 or tensor.shape[1] < MIN_WIDTH or tensor.shape[0] == 0:
        raise CheckpointError(f"has components of the shape {shape}; expected [K, 1, D] or [K, D]")
    lengths, center = _vector(deviations, len(tensor)), _vector(mean, tensor.shape[1])
    components = [component[None].contiguous() for component in _check_nonzero(tensor)]
    if lengths is None or not bool((lengths > 0).all()) or not bool((tensor.norm(dim=1) > 0).all()):
        return ForeignDirections("components", [ForeignDirection(component) for component in components], shape)
    directions = [
        _scale_to_deviation(component, float(length), center)
        for component, length in zip(components, lengths, strict=True)
    ]
    return ForeignDirections("components with deviations", directions, shape)


def _scale_to_deviation(component: Tensor, length: float, mean: Tensor | None) -> ForeignDirection:
    """Make one step one standard deviation, which v . (w - mean) counts: v . d = 1."""
    normal = component / (length * component.square().sum())
    start = None if mean is None else float((normal[0].double() * mean.double()).sum())
    return ForeignDirection(component * length, normal, start, None if start is None else start + 1.0)


def _vector(value: Any, size: int) -> Tensor | None:
    """Return the numbers of a vector [size], in whatever shape they are saved; None when there is none of that size."""
    if not isinstance(value, StoredTensor | StoredArray):
        return None
    tensor = float_tensor(value, "a component's deviation or mean").reshape(-1)
    return tensor if tensor.numel() == size else None


def _check_nonzero(tensor: Tensor) -> Tensor:
    check_size(tensor, "its direction")
    if not bool(torch.any(tensor != 0)):
        raise CheckpointError("holds only zeros, which is no direction")
    return tensor


def choose_direction(directions: ForeignDirections, component: int | None) -> tuple[ForeignDirection, int]:
    """Return one of the directions, the first for None, and its index.

    Raises:
        CheckpointError: when there is no such component.
    """
    index = component or 0
    if not 0 <= index < len(directions.directions):
        raise CheckpointError(f"holds {len(directions.directions)} directions; there is no component {index}")
    return directions.directions[index], index
