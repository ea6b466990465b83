"""Limits of a network's config: checked against its weights before a library builds the network.

A damaged or hostile configuration may ask for a thousand million layers, and building them takes all memory and time
long before anything is compared. Weights say what is plausible: no width is larger than the largest side of any tensor,
and there are no more layers than tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..code_range import is_number
from ..errors import CheckpointError

__all__ = ["check_config_limits"]

_WIDTHS = {
    "block_out_channels", "cross_attention_dim", "embed_dim", "hidden_size", "in_channels", "intermediate_size",
    "latent_channels", "out_channels", "projection_dim", "vocab_size", "width",
}  # fmt: skip
_DEPTHS = {"layers", "layers_per_block", "num_hidden_layers", "transformer_layers_per_block"}
_SIZES = {"image_size", "sample_size"}
_LARGEST_IMAGE = 2048  # pixels
_LARGEST_COUNT = 1 << 20  # of anything else that is counted: tokens, heads, groups


def check_config_limits(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], subject: str) -> None:
    """Refuse numbers that the weights cannot have.

    Args:
        config: as read from JSON, nested as it comes.
        shapes: of all tensors of the network.
        subject: begins the error's sentence: the name of the description.

    Raises:
        CheckpointError: naming the field, its value and what the weights allow.
    """
    widest = max((size for shape in shapes.values() for size in shape), default=0)
    for name, value in _numbers(config, ""):
        limit = _LARGEST_COUNT
        for names, largest in ((_WIDTHS, widest), (_DEPTHS, len(shapes)), (_SIZES, _LARGEST_IMAGE)):
            limit = largest if name in names else limit
        if isinstance(value, float) and not math.isfinite(value) or value > limit:
            raise CheckpointError(
                f"{subject} has {str(value)[:40]} for '{name}', where its weights allow {limit} at most; it is "
                "damaged, or belongs to other weights."
            )


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Yield (innermost key, number) of a JSON tree."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _numbers(child, str(key))
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _numbers(child, name)
    elif is_number(value):
        yield name, value
