"""Part labels: soft masks of the named parts of each picture, the value of the socket PART_LABELS."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError


@dataclass(frozen=True, eq=False)
class PartLabels:
    """Soft masks of named parts; one set of masks (B = 1) serves any number of pictures.

    Args:
        masks: [B, P, h, w] in 0..1, for B pictures.
        names: P names.

    Raises:
        InputError: other shapes, another number of names, or names that repeat.
    """

    masks: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.masks.ndim != 4 or 0 in self.masks.shape:
            raise InputError(f"Part masks have shape {list(self.masks.shape)}; expected [B, P, h, w].")
        if len(self.names) != self.masks.shape[1]:
            raise InputError(f"There are {len(self.names)} part names for {self.masks.shape[1]} masks; give one each.")
        if len(set(self.names)) != len(self.names):
            raise InputError(f"Part names must differ from each other; got {', '.join(self.names)}.")

    def __len__(self) -> int:
        """B, the number of pictures, or 1."""
        return self.masks.shape[0]

    def index(self, name: str) -> int:
        """Return the position of a part.

        Raises:
            InputError: no such part; the sentence lists the names.
        """
        if name not in self.names:
            raise InputError(f"There is no part '{name}'; these are labelled: {', '.join(self.names)}.")
        return self.names.index(name)

    def part(self, name: str) -> Tensor:
        """Return the mask [B, h, w] of one part."""
        return self.masks[:, self.index(name)]

    def resized(self, height: int, width: int) -> Tensor:
        """Return all masks smoothly resized, [B, P, height, width]."""
        if self.masks.shape[-2:] == (height, width):
            return self.masks
        return F.interpolate(self.masks, (height, width), mode="bilinear", antialias=True, align_corners=False)
