"""Data model of a pickle: plain data, tensors still lying in the file, and inert stand-ins for objects.

Nothing here is a class of the program that wrote the file. A tensor is a description (where its numbers lie, its shape
and its strides) which is checked against the bytes that are really there before a single number is copied; an object
of any other class is an `Opaque`: its name and the state that was saved with it, with no behaviour at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from einops import rearrange

from ..errors import CheckpointError

MAX_DIMENSIONS = 8
MAX_BROADCAST = 1 << 20  # numbers an expanded (stride 0) tensor may have beyond those stored

Bytes = bytes | bytearray | memoryview


def is_integer(value: object) -> bool:
    """Return True for an integer that is not a boolean (`True` is an int to Python, never a size to us)."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(eq=False, slots=True)
class Name:
    """A global the file names, as text only. `str(name)` is "module.attribute"."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}.{self.attribute}"


@dataclass(eq=False, slots=True)
class Opaque:
    """An object of a class we do not run: the class's name, constructor arguments, saved state and items."""

    name: str
    arguments: tuple = ()
    state: Any = None
    items: dict = field(default_factory=dict)
    elements: list = field(default_factory=list)

    def attributes(self) -> dict:
        """Return the saved attributes, {} where the object saved something else than attributes."""
        return self.state if isinstance(self.state, dict) else {}

    def get(self, attribute: str, default: Any = None) -> Any:
        """Return one saved attribute, with `default` where it is absent."""
        return self.attributes().get(attribute, default)


@dataclass(eq=False, slots=True)
class ElementType:
    """A number type: "float32", "int64", ... with the byte order of a numpy dtype ("<", ">" or "|")."""

    name: str
    order: str = "<"


# Every number type that a generator or a direction is saved in, with the bytes of one number.
ITEM_SIZE = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip


class Storage:
    """A run of numbers of one type in the file, fetched when first needed and at most once."""

    __slots__ = ("element", "numel", "_fetch", "_swap", "_flat")

    def __init__(self, element: str, numel: int | None, fetch: Callable[[], Bytes], swap: bool = False):
        self.element = element  # a key of ITEM_SIZE
        self.numel = numel  # numbers it claims to hold, None = as many as there are
        self._fetch = fetch
        self._swap = swap  # the numbers are big-endian
        self._flat: torch.Tensor | None = None

    def flat(self) -> torch.Tensor:
        """Fetch all numbers, [numel].

        Raises:
            CheckpointError: when the file holds another amount than it claims.
        """
        if self._flat is None:
            size = ITEM_SIZE[self.element]
            raw = np.frombuffer(self._fetch(), dtype=np.uint8)
            if raw.size % size or (self.numel is not None and raw.size != self.numel * size):
                claimed = "whole numbers" if self.numel is None else f"{self.numel} numbers of {size} bytes"
                raise CheckpointError(f"a tensor's data should be {claimed}, but {raw.size} bytes are there")
            if self._swap and size > 1:
                raw = rearrange(rearrange(raw, "(n bytes) -> n bytes", bytes=size)[:, ::-1], "n bytes -> (n bytes)")
            copied = torch.empty(raw.size, dtype=torch.uint8)
            copied.numpy()[:] = raw
            self._flat = copied.view(getattr(torch, self.element))
        return self._flat


def check_shape(shape: object, subject: str) -> tuple[int, ...]:
    """Return `shape` as a tuple of sizes.

    Args:
        shape: a size, or a list of them.
        subject: begins the error's sentence: "a tensor".

    Raises:
        CheckpointError: for more than 8 sizes, or one that is negative or absurd.
    """
    sizes = shape if isinstance(shape, tuple | list) else (shape,)
    sizes = tuple(sizes[: MAX_DIMENSIONS + 1])
    if len(sizes) > MAX_DIMENSIONS or not all(is_integer(s) and 0 <= s < 1 << 40 for s in sizes):
        raise CheckpointError(f"{subject} has an impossible shape {str(sizes)[:80]}")
    return sizes


@dataclass(eq=False, slots=True)
class StoredTensor:
    """A torch tensor as the file describes it: a strided view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    element: str

    def __post_init__(self) -> None:
        self.shape = check_shape(self.shape, "a tensor")
        strides = self.stride if isinstance(self.stride, tuple | list) else (self.stride,)
        self.stride = tuple(strides[: MAX_DIMENSIONS + 1])
        legal = len(self.stride) == len(self.shape) and is_integer(self.offset) and 0 <= self.offset < 1 << 60
        if not legal or not all(is_integer(s) and 0 <= s < 1 << 40 for s in self.stride):
            raise CheckpointError(f"a tensor has an impossible layout: strides {str(self.stride)[:80]}")

    def tensor(self) -> torch.Tensor:
        """Copy the numbers to a new contiguous tensor of `shape`.

        Raises:
            CheckpointError: when the view leaves its storage.
        """
        flat = self.storage.flat()
        if self.element != self.storage.element:  # an untyped storage: the tensor says what its bytes are
            if self.storage.element != "uint8" or flat.numel() % ITEM_SIZE[self.element]:
                raise CheckpointError(f"{self.storage.element} data cannot be read as {self.element}")
            flat = flat.view(getattr(torch, self.element))
        count = math.prod(self.shape)
        last = self.offset + sum((s - 1) * t for s, t in zip(self.shape, self.stride, strict=True))
        if count and (last >= flat.numel() or count > max(flat.numel(), MAX_BROADCAST)):
            raise CheckpointError(
                f"a tensor of shape {list(self.shape)} does not fit in the {flat.numel()} numbers stored for it"
            )
        if not count:
            return torch.empty(self.shape, dtype=flat.dtype)
        return flat.as_strided(self.shape, self.stride, self.offset).clone(memory_format=torch.contiguous_format)


@dataclass(eq=False, slots=True)
class StoredArray:
    """A numpy array or scalar as the file describes it. Filled in two steps, as numpy's own pickles are."""

    shape: tuple[int, ...] = (0,)
    element: ElementType | None = None
    fortran: bool = False
    data: Bytes = b""

    def fill(self, shape: object, element: object, fortran: object, data: object) -> StoredArray:
        """Set shape, type, order and bytes; return itself.

        Raises:
            CheckpointError: unless the bytes are plain numbers, exactly as many as the shape needs.
        """
        if isinstance(data, str):  # Python 2 wrote its bytes as text
            data = data.encode("latin-1", "strict")
        if not isinstance(element, ElementType) or not isinstance(data, bytes | bytearray | memoryview):
            raise CheckpointError("an array that is not plain numbers (object arrays are never read)")
        self.shape = check_shape(shape, "an array")
        if math.prod(self.shape) * ITEM_SIZE[element.name] != len(data):
            raise CheckpointError(f"an array of shape {list(self.shape)} cannot be made of {len(data)} bytes")
        self.element, self.fortran, self.data = element, bool(fortran), data
        return self

    def tensor(self) -> torch.Tensor:
        """Copy the numbers to a new contiguous tensor of `shape`.

        Raises:
            CheckpointError: when the numbers were never given.
        """
        if self.element is None:
            raise CheckpointError("an array whose numbers were never given")
        storage = Storage(self.element.name, math.prod(self.shape), lambda: self.data, self.element.order == ">")
        flat = storage.flat()
        if self.fortran and len(self.shape) > 1:
            return flat.reshape(self.shape[::-1]).permute(*reversed(range(len(self.shape)))).contiguous()
        return flat.reshape(self.shape)

    def number(self) -> float | int | bool | None:
        """Return the value of a one-element array, None for any other."""
        return self.tensor().item() if math.prod(self.shape) == 1 and self.element is not None else None


def plain_number(value: object) -> float | int | bool | None:
    """Return `value` as a Python number: numbers themselves, numpy scalars, one-element arrays; None for all others.

    Whole numbers beyond 64 bits, which no float may hold, are none that a checkpoint means.
    """
    if isinstance(value, int | float):
        return value if isinstance(value, float) or abs(value) < 1 << 64 else None
    return value.number() if isinstance(value, StoredArray) else None
