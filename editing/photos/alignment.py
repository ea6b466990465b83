"""Alignment: the similarity transform of a crop to its photo, from a face's points, from a box, or from the centre.

Coordinates are (x, y) in pixels, y down, pixel centres at .5, so that a picture of width W covers 0..W.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...models.errors import InputError
from ..common.frames import smooth_over_time
from .landmarks import FacePoints

__all__ = [
    "FRAMINGS",
    "Alignment",
    "Framing",
    "box_frame",
    "centre_frame",
    "corners",
    "face_frame",
    "frame_size",
    "smooth_alignment",
]

_LEAST_SCALE = 1e-3  # photo pixels per crop pixel; below it a crop shows less than nothing


@dataclass(frozen=True, eq=False)
class Alignment:
    """The similarity transform of each crop to its photo (socket ALIGNMENT).

    Args:
        transforms: [N, 2, 3] float64 on the CPU: (x, y, 1) in a crop to (x, y) in its photo; a rotation times a scale,
            and a shift.
        pictures: N numbers: the photo of each crop, counted from 0. One photo may give several crops.
        photo_size: height and width of the photos.
        crop_size: height and width of the crops.
        photos: B, how many photos there were.
        names: N names of the crops; left out: "#1", "#2", ...

    Raises:
        InputError: shapes or numbers that do not belong together, or a transform that is no similarity.
    """

    transforms: Tensor
    pictures: Sequence[int]
    photo_size: tuple[int, int]
    crop_size: tuple[int, int]
    photos: int = 1
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.transforms.shape)
        if len(shape) != 3 or shape[1:] != (2, 3) or shape[0] == 0:
            raise InputError(f"The transforms of an alignment must have shape [N, 2, 3]; got {list(shape)}.")
        transforms = self.transforms.detach().to("cpu", torch.float64)
        linear = transforms[:, :, :2]
        scales = linear.square().sum(dim=(1, 2)).div(2).sqrt()
        product = linear @ linear.transpose(1, 2) / scales.square()[:, None, None].clamp(min=1e-30)
        orthogonal = (product - torch.eye(2, dtype=torch.float64)).abs().amax(dim=(1, 2)) < 1e-4
        if not bool(torch.isfinite(transforms).all() and orthogonal.all() and (scales > _LEAST_SCALE).all()):
            raise InputError("The transforms of an alignment must be rotations times a scale above 0.001, and shifts.")
        pictures, names = tuple(int(k) for k in self.pictures), tuple(str(name) for name in self.names)
        names = names or tuple(f"#{k + 1}" for k in range(shape[0]))
        if len(pictures) != shape[0] or len(names) != shape[0]:
            raise InputError(f"{shape[0]} crops need a photo and a name each; got {len(pictures)} and {len(names)}.")
        if self.photos < 1 or not all(0 <= k < self.photos for k in pictures):
            raise InputError(f"The crops come from the photos {list(pictures)}; there are {self.photos}, from 0.")
        if min(*self.photo_size, *self.crop_size) < 1:
            raise InputError(f"Photos {self.photo_size} and crops {self.crop_size} must have a height and a width.")
        for name, value in (("transforms", transforms), ("pictures", pictures), ("names", names)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Return N, the number of crops."""
        return len(self.pictures)

    @property
    def scales(self) -> Tensor:
        """Photo pixels per crop pixel, [N]."""
        return self.transforms[:, :, 0].norm(dim=1)

    @property
    def angles(self) -> Tensor:
        """Degrees by which each crop is turned against its photo, clockwise on the screen, [N]."""
        return torch.rad2deg(torch.atan2(self.transforms[:, 1, 0], self.transforms[:, 0, 0]))


@dataclass(frozen=True)
class Framing:
    """The frame in which a generator's training pictures hold a face.

    Half the side of their square is the larger of ``by_eyes`` times the distance of the eyes and ``by_mouth`` times
    that from between the eyes to the mouth, so that a face in profile keeps its size; the middle lies ``below_eyes``
    times the latter below the eyes.
    """

    by_eyes: float
    by_mouth: float
    below_eyes: float


FRAMINGS = {
    "ffhq": Framing(by_eyes=2.0, by_mouth=1.8, below_eyes=0.1),  # the recipe of the FFHQ data set (1812.04948)
    "demo portraits": Framing(by_eyes=1.8, by_mouth=2.35, below_eyes=-0.015),  # least squares over 400 renders
}


def face_frame(
    face: FacePoints,
    framing: Framing,
    crop_size: tuple[int, int],
    zoom: float = 1.0,
    shift_down: float = 0.0,  # in sides of the square
    level: bool = True,  # turn the crop with the face
) -> Tensor:
    """Frame the square of ``framing`` round a face, as the shorter side of the crop; the longer one shows more.

    The crop's horizontal is the mean of the line through the eyes and of the line across the face's length.

    Returns:
        [2, 3], crop to photo.
    """
    across, along = face.eye_right - face.eye_left, face.mouth - face.eyes
    horizontal = across + torch.stack([along[1], -along[0]])
    half = max(framing.by_eyes * float(across.norm()), framing.by_mouth * float(along.norm())) / zoom
    angle = math.atan2(float(horizontal[1]), float(horizontal[0])) if level else 0.0
    centre = face.eyes + framing.below_eyes * along
    below = torch.tensor([-math.sin(angle), math.cos(angle)], dtype=torch.float64)
    return _frame(centre + 2 * half * shift_down * below, 2 * half / min(crop_size), angle, crop_size)


def box_frame(
    box: Sequence[float],  # x0, y0, x1, y1
    crop_size: tuple[int, int],
    margin: float = 0.25,  # on each side, in sides of the box
    zoom: float = 1.0,
    shift_down: float = 0.0,
) -> Tensor:
    """Frame the smallest area of the crop's shape round a box and its margin: [2, 3], crop to photo."""
    x0, y0, x1, y1 = (float(value) for value in box)
    growth = 1 + 2 * margin
    scale = max((x1 - x0) * growth / crop_size[1], (y1 - y0) * growth / crop_size[0]) / zoom
    centre = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2 + shift_down * scale * min(crop_size)], dtype=torch.float64)
    return _frame(centre, scale, 0.0, crop_size)


def centre_frame(
    photo_size: tuple[int, int], crop_size: tuple[int, int], zoom: float = 1.0, shift_down: float = 0.0
) -> Tensor:
    """Frame the largest area of the crop's shape in the middle of a photo: [2, 3], crop to photo."""
    height, width = photo_size
    scale = min(height / crop_size[0], width / crop_size[1]) / zoom
    centre = torch.tensor([width / 2, height / 2 + shift_down * scale * min(crop_size)], dtype=torch.float64)
    return _frame(centre, scale, 0.0, crop_size)


def corners(transform: Tensor, crop_size: tuple[int, int]) -> Tensor:
    """Map a crop's corners to its photo, by ``transform`` [2, 3]: [4, 2], clockwise from the top left."""
    height, width = crop_size
    points = torch.tensor([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=torch.float64)
    return points @ transform.to("cpu", torch.float64).t()


def frame_size(transform: Tensor, crop_size: tuple[int, int]) -> float:
    """Return the shorter side of a crop in pixels of its photo, for a transform [2, 3]."""
    return float(transform[:, 0].norm()) * min(crop_size)


def _frame(centre: Tensor, scale: float, angle: float, crop_size: tuple[int, int]) -> Tensor:
    """Return the transform [2, 3] of a crop whose centre lies at ``centre`` [2] of the photo, turned by radians."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    linear = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    crop_centre = torch.tensor([crop_size[1] / 2, crop_size[0] / 2], dtype=torch.float64)
    return torch.cat([linear, (centre - linear @ crop_centre)[:, None]], dim=1)


def smooth_alignment(alignment: Alignment, sigma: float) -> Alignment:
    """Steady the crops of a clip: each frame's transform is averaged with its neighbours' by a Gaussian.

    The mean of similarity transforms is one, and takes the crop's middle to the mean of the middles.

    Args:
        alignment: one crop per photo; photos that were left out are gaps in time.
        sigma: in frames; 0 changes nothing.

    Raises:
        InputError: a photo with several crops, which of the next photo's would belong to them is not known.
    """
    if sigma <= 0:
        return alignment
    if len(set(alignment.pictures)) != len(alignment):
        raise InputError(
            f"The {len(alignment)} crops come from {len(set(alignment.pictures))} frames; to steady a clip each frame "
            "has one crop: set 'faces' to largest."
        )
    return replace(alignment, transforms=smooth_over_time(alignment.transforms, sigma, alignment.pictures))
