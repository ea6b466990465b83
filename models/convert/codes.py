"""Reader of other projects' codes of W and W+: the projectors of NVlabs and rosinality, PTI's pivots, e4e's and pSp's.

NVlabs' stylegan2-ada-pytorch saves {"w": [1, L, D]} as projected_w.npz, its TensorFlow predecessor {"dlatents"}; PTI
saves the pivot [1, L, D] of a photo as 0.pt, e4e all codes [N, L, D] as latents.pt; rosinality's projector a dictionary
for every picture. Codes of W [N, D], the same for all rows, are kept as [N, 1, D].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ..errors import CheckpointError
from .assemble import check_size, float_tensor
from .stored import StoredArray, StoredTensor

CODE_NAMES = (
    "w", "ws", "dlatents", "dlatent", "latents", "latent", "latent_codes", "latent_code", "latent_in", "w_plus",
    "w_pivot", "codes",
)  # fmt: skip
# What projectors keep beside a code.
BESIDE_CODES = {"noise", "noises", "img", "image", "loss", "dist", "target", "label", "labels", "c", "path", "names"}
MAX_ROWS = 32  # of W+; the largest published generators have 18, and 26 would be pictures of 16,384 pixels
MAX_CODES = 1 << 20


@dataclass(eq=False)
class ForeignCodes:
    """Codes of a file."""

    layout: str  # whose file it is, in words
    codes: Tensor  # [N, L, D]; L is 1 for codes of W
    names: list[str]  # of the pictures, [] where the file has none
    source_shape: list[int]


def read_codes(value: StoredTensor | StoredArray, name: str, layout: str = "codes") -> ForeignCodes:
    """Read an array as codes: [N, L, D], a code [L, D] of up to 32 rows, codes of W [N, D], or one [D].

    Two axes are one code of W+ where their number of rows is that of a generator (4, 6, ... 32), else codes of W.

    Raises:
        CheckpointError: for another shape, or numbers that are no code.
    """
    shape = list(value.shape)
    if not 1 <= len(shape) <= 3 or 0 in shape or shape[0] > MAX_CODES:
        raise CheckpointError(f"has the shape {shape}; codes are [N, L, D], [L, D] or [N, D]")
    if len(shape) == 3 and shape[1] > MAX_ROWS:
        raise CheckpointError(f"has the shape {shape}; codes of {shape[1]} rows belong to no generator")
    tensor = float_tensor(value, name)
    check_size(tensor, name)
    if tensor.ndim == 1:
        tensor = rearrange(tensor, "d -> 1 1 d")
    elif tensor.ndim == 2:
        pattern = "l d -> 1 l d" if is_row_count(shape[0]) else "n d -> n 1 d"
        tensor = rearrange(tensor, pattern)
    return ForeignCodes(layout, tensor.contiguous(), [], shape)


def is_row_count(count: int) -> bool:
    """Return whether a StyleGAN2 may have so many rows of W+: two for each doubling, from 8 pixels on."""
    return 4 <= count <= MAX_ROWS and count % 2 == 0


def find_projections(content: dict) -> ForeignCodes | None:
    """Read what rosinality's projector saves: picture -> {"latent": [L, D] or [D], "img", "noise"}; None for others.

    Raises:
        CheckpointError: when the codes differ in their shapes.
    """
    entries = {str(name): entry for name, entry in content.items() if isinstance(entry, dict)}
    if not entries or len(entries) != len(content):
        return None
    values: dict[str, Any] = {name: entry.get("latent") for name, entry in entries.items()}
    known = {"latent", *BESIDE_CODES}
    if not all(isinstance(value, StoredTensor | StoredArray) for value in values.values()):
        return None
    if any(set(entry) - known for entry in entries.values()):
        return None
    return stack_codes(values, "projections of rosinality's stylegan2-pytorch")


def stack_codes(values: dict[str, StoredTensor | StoredArray], layout: str) -> ForeignCodes:
    """Join the codes of several pictures, by their names.

    Raises:
        CheckpointError: when they differ in shape.
    """
    codes = [read_codes(value, name[:80], layout).codes for name, value in values.items()]
    shapes = {tuple(code.shape[1:]) for code in codes}
    if len(shapes) > 1 or any(len(code) != 1 for code in codes):
        raise CheckpointError("holds codes of different shapes; save those of one generator alone")
    return ForeignCodes(layout, torch.cat(codes), [name[-120:] for name in values], [len(codes), *codes[0].shape[1:]])
