"""From photos and what was found in them to crops of a generator's size, and a drawing of where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError
from .alignment import FRAMINGS, Alignment, box_frame, centre_frame, corners, face_frame, frame_size
from .detections import Box, Detection
from .warp import cut

__all__ = ["FACES", "MISSING", "Cropping", "align", "cut_crops", "draw_frames"]

FACES = ("largest", "all")
MISSING = ("refuse", "leave out", "centre")
Progress = Callable[..., None]
_LARGEST_SIDE = 16384  # px of a photo that a crop may span
_PREVIEW = 768  # px, longest side
_COLOURS = ((1.0, 0.85, 0.1), (0.2, 0.9, 1.0), (1.0, 0.4, 0.8), (0.5, 1.0, 0.4))


@dataclass(frozen=True)
class Cropping:
    """How crops are framed.

    Raises InputError for an unknown framing and numbers out of range.
    """

    framing: str = "ffhq"  # of faces
    zoom: float = 1.0  # above 1: closer
    margin: float = 0.25  # round boxes, in their sides
    shift_down: float = 0.0  # in sides of the crop
    level: bool = True  # turn crops with their faces

    def __post_init__(self) -> None:
        if self.framing not in FRAMINGS:
            raise InputError(f"Unknown framing '{self.framing}'; expected one of {', '.join(FRAMINGS)}.")
        if not 0.2 <= self.zoom <= 10:
            raise InputError(f"The zoom is {self.zoom:g}; expected 0.2 to 10.")
        if not (0 <= self.margin <= 4 and -1 <= self.shift_down <= 1):
            raise InputError("The margin must be 0 to 4 sides of the box, the shift -1 to 1 sides of the crop.")


def align(
    found: Sequence[Detection] | None,  # None: the middle of each photo
    photos: int,
    photo_size: tuple[int, int],
    crop_size: tuple[int, int],
    cropping: Cropping = Cropping(),
    faces: str = "largest",  # one crop per photo, or one for each face from left to right
    missing: str = "refuse",  # what to do with photos in which nothing was found
    names: Sequence[str] = (),  # of the photos
) -> Alignment:
    """Frames for what was found.

    Raises InputError when a photo has nothing (and ``missing`` is "refuse"), when no photo has anything, or a frame is
    larger than 16384 px.
    """
    if faces not in FACES or missing not in MISSING:
        raise InputError(f"faces is '{faces}' (of {', '.join(FACES)}), missing '{missing}' (of {', '.join(MISSING)}).")
    names = tuple(names) or tuple(f"picture {k + 1}" for k in range(photos))
    if len(names) != photos:
        raise InputError(f"There are {len(names)} names for {photos} photos; connect the names of the same batch.")
    transforms, pictures, labels, empty = [], [], [], []
    for k in range(photos):
        frames = [_frame(each, crop_size, cropping) for each in found or () if each.picture == k]
        if found is None or (not frames and missing == "centre"):
            frames = [centre_frame(photo_size, crop_size, cropping.zoom, cropping.shift_down)]
        elif not frames:
            empty.append(names[k])
            continue
        frames.sort(key=lambda frame: float(corners(frame, crop_size)[:, 0].mean()))
        if faces == "largest":
            frames = [max(frames, key=lambda frame: frame_size(frame, crop_size))]
        transforms += frames
        pictures += [k] * len(frames)
        labels += [names[k] if len(frames) == 1 else f"{names[k]} face {n + 1}" for n in range(len(frames))]
    if empty and (missing == "refuse" or not transforms):
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise InputError(
            f"No face and no area was found in {', '.join(empty[:5])}{more}. Connect another detector or mask, or let "
            "'missing' leave such photos out or crop their middle."
        )
    largest = max(float(frame[:, 0].norm()) * max(crop_size) for frame in transforms)
    if largest > _LARGEST_SIDE:
        raise InputError(f"A crop would span {largest:.0f} pixels of its photo; at most {_LARGEST_SIDE} are possible.")
    return Alignment(torch.stack(transforms), pictures, photo_size, crop_size, photos, labels)


def cut_crops(
    photos: Tensor,  # [B, H, W, 3 or 4] in 0..1
    alignment: Alignment,
    border: str = "reflect",
    blur: bool = True,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """The crops [N, h, w, 3] in 0..1, float32, and masks [N, h, w]: 1 where they show the photo, 0 beyond."""
    crops, inside = [], []
    for k, picture in enumerate(alignment.pictures):
        photo = photos[picture, ..., :3].movedim(-1, 0)
        crop, shown = cut(photo, alignment.transforms[k], alignment.crop_size, border, blur)
        crops.append(crop.clamp(0, 1).movedim(0, -1))
        inside.append(shown)
        if progress is not None:
            progress(k + 1, len(alignment), crops[-1])
    return torch.stack(crops).contiguous(), torch.stack(inside)


def draw_frames(photos: Tensor, alignment: Alignment) -> Tensor:
    """The photos [B, h, w, 3], at most 768 px, with the outline of every crop; a triangle marks its upper edge."""
    small = photos[..., :3].movedim(-1, 1).to(torch.float32)
    shrink = max(1.0, max(alignment.photo_size) / _PREVIEW)
    if shrink > 1:
        size = [max(1, round(side / shrink)) for side in alignment.photo_size]
        small = F.interpolate(small, size, mode="bilinear", antialias=True, align_corners=False)
    small = small.movedim(1, -1).clone()
    height, width = small.shape[1:3]
    y = torch.arange(height, device=small.device)[:, None] + 0.5
    x = torch.arange(width, device=small.device)[None, :] + 0.5
    for k, picture in enumerate(alignment.pictures):
        points = (corners(alignment.transforms[k], alignment.crop_size) / shrink).tolist()
        across = [(points[1][n] - points[0][n]) / 12 for n in (0, 1)]
        down = [(points[3][n] - points[0][n]) / 12 for n in (0, 1)]
        top = [(points[0][n] + points[1][n]) / 2 for n in (0, 1)]
        marks = [[top[n] + side * across[n] for n in (0, 1)] for side in (-0.5, 0.5)]
        tip = [top[n] + down[n] for n in (0, 1)]
        lines = [*zip(points, points[1:] + points[:1], strict=True), (marks[0], tip), (marks[1], tip)]
        distance = torch.stack([_distance(x, y, *line) for line in lines]).amin(dim=0)
        colour = torch.tensor(_COLOURS[k % len(_COLOURS)], device=small.device)
        ink = (2.0 - distance).clamp(0, 1)[..., None]
        shade = (3.0 - distance).clamp(0, 1)[..., None] * 0.5  # a dark rim, to be seen on light and dark alike
        small[picture] = torch.lerp(small[picture] * (1 - shade), colour.expand_as(small[picture]), ink)
    return small


def _frame(each: Detection, crop_size: tuple[int, int], cropping: Cropping) -> Tensor:
    if isinstance(each.found, Box):
        return box_frame(tuple(each.found), crop_size, cropping.margin, cropping.zoom, cropping.shift_down)
    framing = FRAMINGS[cropping.framing]
    return face_frame(each.found, framing, crop_size, cropping.zoom, cropping.shift_down, cropping.level)


def _distance(x: Tensor, y: Tensor, start: Sequence[float], end: Sequence[float]) -> Tensor:
    """[h, w]: from every pixel to a line between two points."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = max(along_x * along_x + along_y * along_y, 1e-9)
    t = (((x - start[0]) * along_x + (y - start[1]) * along_y) / length).clamp(0, 1)
    return ((x - start[0] - t * along_x).square() + (y - start[1] - t * along_y).square()).sqrt()
