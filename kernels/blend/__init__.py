"""Feature blending (CoralStyleCLIP, 2303.05031): two feature maps mixed by a mask, so that an edit stays inside it."""

from __future__ import annotations

from torch import Tensor

from ..select import choose
from .fast import blend_fast
from .gpu import blend_gpu, gpu_suits
from .naive import blend_naive

__all__ = ["blend_fast", "blend_features", "blend_gpu", "blend_naive"]


def blend_features(
    plain: Tensor,  # [B, C, H, W]
    edited: Tensor,  # [B, C, H, W]
    mask: Tensor,  # [B or 1, 1 or C, H, W], 0 keeps ``plain``, 1 takes ``edited``
) -> Tensor:
    """Compute m edited + (1 - m) plain (CoralStyleCLIP, equation of the blended layer); exact at m = 0 and m = 1.

    Raises:
        ValueError: shapes that do not fit one another.
    """
    if plain.shape != edited.shape:
        raise ValueError(f"The two feature maps differ in shape: {tuple(plain.shape)} and {tuple(edited.shape)}.")
    fits = mask.ndim == plain.ndim and all(m in (1, p) for m, p in zip(mask.shape[:2], plain.shape[:2], strict=True))
    if not fits or mask.shape[2:] != plain.shape[2:]:
        raise ValueError(f"A mask of shape {tuple(mask.shape)} does not fit features of shape {tuple(plain.shape)}.")
    mask = mask.to(plain.dtype)
    gpu = blend_gpu if gpu_suits(plain, edited, mask) else None
    return choose(blend_naive, blend_fast, plain, gpu=gpu)(plain, edited, mask)
