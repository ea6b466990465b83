"""The reference of feature blending: its definition."""

from torch import Tensor


def blend_naive(plain: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
    """m e + (1 - m) p."""
    return mask * edited + (1 - mask) * plain
