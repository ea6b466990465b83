"""Crops of a generator's size from photos and their detections, and a drawing of where the crops lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ...models.errors import InputError, check_choice
from ..common.progress import Progress
from .alignment import FRAMINGS, Alignment, box_frame, centre_frame, corners, face_frame, frame_size
from .detections import Box, Detection
from .warp import extract_crop

__all__ = ["FACES", "MISSING", "Cropping", "align", "draw_frames", "extract_crops"]

FACES = ("largest", "all")
MISSING = ("refuse", "leave out", "centre")
_LARGEST_SIDE = 16384  # px of a photo that a crop may span
_PREVIEW = 768  # px, longest side
_COLOURS = ((1.0, 0.85, 0.1), (0.2, 0.9, 1.0), (1.0, 0.4, 0.8), (0.5, 1.0, 0.4))


@dataclass(frozen=True)
class Cropping:
    """The frame of every crop: framing of faces, zoom, margin of boxes, shift.

    Raises:
        InputError: an unknown framing, or numbers out of range.
    """

    framing: str = "ffhq"  # of faces
    zoom: float = 1.0  # above 1: closer
    margin: float = 0.25  # round boxes, in their sides
    shift_down: float = 0.0  # in sides of the crop
    level: bool = True  # turn crops with their faces

    def __post_init__(self) -> None:
        check_choice("framing", self.framing, FRAMINGS)
        if not 0.2 <= self.zoom <= 10:
            raise InputError(f"The zoom is {self.zoom:g}; expected 0.2 to 10.")
        if not (0 <= self.margin <= 4 and -1 <= self.shift_down <= 1):
            raise InputError("The margin must be 0 to 4 sides of the box, the shift -1 to 1 sides of the crop.")


def align(
    detections: Sequence[Detection] | None,  # None: the middle of each photo
    photos: int,  # how many there are
    photo_size: tuple[int, int],  # height, width
    crop_size: tuple[int, int],  # height, width
    cropping: Cropping = Cropping(),
    faces: str = "largest",  # one crop per photo, or one for each face from left to right
    missing: str = "refuse",  # of MISSING: what to do with photos without a detection
    names: Sequence[str] = (),  # of the photos
) -> Alignment:
    """Frame every detection.

    Raises:
        InputError: a photo without a detection (where ``missing`` is "refuse"), none in any photo, or a frame larger
            than 16384 px.
    """
    if faces not in FACES or missing not in MISSING:
        raise InputError(f"faces is '{faces}' (of {', '.join(FACES)}), missing '{missing}' (of {', '.join(MISSING)}).")
    names = tuple(names) or tuple(f"picture {k + 1}" for k in range(photos))
    if len(names) != photos:
        raise InputError(f"There are {len(names)} names for {photos} photos; connect the names of the same batch.")
    transforms, pictures, labels, empty = [], [], [], []
    for k in range(photos):
        frames = [_frame(face, crop_size, cropping) for face in detections or () if face.picture == k]
        if detections is None or (not frames and missing == "centre"):
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
        names_of_empty = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise InputError(
            f"No face and no area was found in {names_of_empty}. Connect another detector or mask, or let "
            "'missing' leave such photos out or crop their middle."
        )
    largest = max(float(frame[:, 0].norm()) * max(crop_size) for frame in transforms)
    if largest > _LARGEST_SIDE:
        raise InputError(f"A crop would span {largest:.0f} pixels of its photo; at most {_LARGEST_SIDE} are possible.")
    return Alignment(torch.stack(transforms), pictures, photo_size, crop_size, photos, labels)


def extract_crops(
    photos: Tensor,  # [B, H, W, 3 or 4] in 0..1
    alignment: Alignment,
    border: str = "reflect",  # as in `extract_crop`, and so is `blur`
    blur: bool = True,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Resample every crop of an alignment.

    Returns:
        The crops [N, h, w, 3] in 0..1, float32, and masks [N, h, w]: 1 where they show the photo, 0 beyond.
    """
    crops, masks = [], []
    for k, picture in enumerate(alignment.pictures):
        photo = rearrange(photos[picture, ..., :3], "h w c -> c h w")
        crop, mask = extract_crop(photo, alignment.transforms[k], alignment.crop_size, border, blur)
        crops.append(rearrange(crop.clamp(0, 1), "c h w -> h w c"))
        masks.append(mask)
        if progress is not None:
            progress(k + 1, len(alignment), crops[-1])
    return torch.stack(crops).contiguous(), torch.stack(masks)


def draw_frames(photos: Tensor, alignment: Alignment) -> Tensor:
    """Draw the outline of every crop into its photo; a triangle marks its upper edge.

    Args:
        photos: [B, H, W, 3 or 4] in 0..1.

    Returns:
        [B, h, w, 3] in 0..1, at most 768 px.
    """
    small = rearrange(photos[..., :3], "b h w c -> b c h w").to(torch.float32)
    shrink = max(1.0, max(alignment.photo_size) / _PREVIEW)
    if shrink > 1:
        size = [max(1, round(length / shrink)) for length in alignment.photo_size]
        small = F.interpolate(small, size, mode="bilinear", antialias=True, align_corners=False)
    small = rearrange(small, "b c h w -> b h w c").clone()
    height, width = small.shape[1:3]
    y = torch.arange(height, device=small.device)[:, None] + 0.5
    x = torch.arange(width, device=small.device)[None, :] + 0.5
    for k, picture in enumerate(alignment.pictures):
        lines = _outline(corners(alignment.transforms[k], alignment.crop_size) / shrink)
        distance = torch.stack([_distance(x, y, *line) for line in lines]).amin(dim=0)
        colour = torch.tensor(_COLOURS[k % len(_COLOURS)], device=small.device)
        ink = (2.0 - distance).clamp(0, 1)[..., None]
        shade = (3.0 - distance).clamp(0, 1)[..., None] * 0.5  # a dark rim, to be seen on light and dark alike
        small[picture] = torch.lerp(small[picture] * (1 - shade), colour.expand_as(small[picture]), ink)
    return small


def _outline(points: Tensor) -> list[tuple[list[float], list[float]]]:
    """Return the lines, each two points (x, y), of a frame with corners [4, 2], and of its mark."""
    points = points.tolist()
    across = [(points[1][n] - points[0][n]) / 12 for n in (0, 1)]
    inwards = [(points[3][n] - points[0][n]) / 12 for n in (0, 1)]
    top = [(points[0][n] + points[1][n]) / 2 for n in (0, 1)]
    left, right = ([top[n] + sign * across[n] for n in (0, 1)] for sign in (-0.5, 0.5))
    tip = [top[n] + inwards[n] for n in (0, 1)]
    return [*zip(points, points[1:] + points[:1], strict=True), (left, tip), (right, tip)]


def _frame(detection: Detection, crop_size: tuple[int, int], cropping: Cropping) -> Tensor:
    """Return the transform [2, 3] of a detection's crop."""
    if isinstance(detection.geometry, Box):
        return box_frame(tuple(detection.geometry), crop_size, cropping.margin, cropping.zoom, cropping.shift_down)
    framing = FRAMINGS[cropping.framing]
    return face_frame(detection.geometry, framing, crop_size, cropping.zoom, cropping.shift_down, cropping.level)


def _distance(x: Tensor, y: Tensor, start: Sequence[float], end: Sequence[float]) -> Tensor:
    """Return the distance of every pixel from the line between two points, [h, w]."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = max(along_x * along_x + along_y * along_y, 1e-9)
    t = (((x - start[0]) * along_x + (y - start[1]) * along_y) / length).clamp(0, 1)
    return ((x - start[0] - t * along_x).square() + (y - start[1] - t * along_y).square()).sqrt()
