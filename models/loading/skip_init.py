"""Network construction without random initialisation: a file replaces the weights anyway.

A CLIP of 400 million parameters takes many seconds for random numbers that nobody will ever see, and a description
that a damaged file makes ten times as large takes all memory for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["skip_init"]

_INITIALISERS = {
    *(getattr(torch.Tensor, name) for name in ("normal_", "uniform_", "erfinv_")),
    *(getattr(nn.init, name) for name in ("normal_", "uniform_", "trunc_normal_")),
    *(getattr(nn.init, f"{scheme}_{law}_") for scheme in ("kaiming", "xavier") for law in ("normal", "uniform")),
}


class skip_init(TorchFunctionMode):  # noqa: N801 (used as a context, and named like torch's own ones)
    """Context in which torch's in-place random initialisation does nothing: tensors hold what their memory held.

    The caller must overwrite every parameter before use, and check that it did. Tensors that are computed (attention
    masks, tables of positions, constants) are made as ever.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function in _INITIALISERS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)
