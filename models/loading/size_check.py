"""Size check of a network before it is built: on torch's meta device, where a tensor is its shape alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from ..errors import CheckpointError

__all__ = ["check_built_size"]

_SLACK = 1 << 20  # numbers: buffers that files leave out, tied weights that are stored once


def check_built_size(build: Callable[[], nn.Module], shapes: Mapping[str, tuple[int, ...]], subject: str) -> None:
    """Refuse a description that asks for a much larger network than its weights are.

    Every number of it may be plausible alone, and together they still ask for a hundred gigabytes.

    Args:
        build: makes the network; called with meta tensors, which take no memory.
        shapes: of all tensors of the file.
        subject: begins the error's sentence: the name of the description.

    Raises:
        CheckpointError: says how many numbers are asked for, and how many there are.
    """
    try:
        with torch.device("meta"):
            network = build()
    except Exception:  # a library that computes with its weights while it builds; what is wrong shows when it loads
        return
    asked = sum(parameter.numel() for parameter in network.parameters())
    stored = sum(math.prod(shape) for shape in shapes.values())
    if asked > 2 * stored + _SLACK:
        raise CheckpointError(
            f"{subject} describes a network of {asked:,} numbers, its weights hold {stored:,}; it is damaged, or "
            "belongs to other weights."
        )
