"""Where the parts of each picture are: what PART_LABELS carries."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError


@dataclass(frozen=True, eq=False)
class PartLabels:
    """Soft masks of named parts, ``masks [B, P, h, w]`` in 0..1, for B pictures and P ``names``.

    One set of masks (B = 1) serves any number of pictures. Raises InputError for other shapes or names.
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
        return self.masks.shape[0]

    def index(self, name: str) -> int:
        """The position of a part. Raises InputError with the names there are."""
        if name not in self.names:
            raise InputError(f"There is no part '{name}'; these are labelled: {', '.join(self.names)}.")
        return self.names.index(name)

    def part(self, name: str) -> Tensor:
        """The mask ``[B, h, w]`` of one part."""
        return self.masks[:, self.index(name)]

    def resized(self, height: int, width: int) -> Tensor:
        """All masks ``[B, P, height, width]``, smoothly resized."""
        if self.masks.shape[-2:] == (height, width):
            return self.masks
        return F.interpolate(self.masks, (height, width), mode="bilinear", antialias=True, align_corners=False)
