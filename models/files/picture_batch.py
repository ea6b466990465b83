"""The pictures of a folder as one batch, of any size and mode; a damaged file does not stop the others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..printable import printable
from .picture_formats import FORMAT_NAMES
from .picture_reader import Note, PictureError, fill, load_fitted

__all__ = ["MAX_BATCH_PIXELS", "PictureBatch", "read_pictures"]

MAX_BATCH_PIXELS = 2**28  # of a batch whose size the files decide: 268 million, 4 GiB of colours and masks
_BYTES_PER_PIXEL = 16  # three colours and a mask in float32

# Colours [H, W, 3] and opacity [H, W] of a picture at its own size -> those of the batch's size, and a remark or "".
Crop = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, str]]


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Pictures of one size, and the files that could not be read."""

    images: Tensor  # [B, H, W, 3] in 0..1
    masks: Tensor  # [B, H, W], 1 where a picture is transparent
    names: tuple[str, ...]
    skipped: tuple[str, ...]  # one sentence per file that could not be read
    notes: tuple[str, ...] = ()  # one sentence per part of a file that was ignored


def read_pictures(
    files: list[Path],
    size: tuple[int, int] | None,  # height, width of the batch; None: those of the first readable picture
    fit: str = "crop",
    background: tuple[int, int, int] = (255, 255, 255),
    crop: Crop | None = None,  # fits every picture in place of ``fit``; it needs a size
) -> PictureBatch:
    """Read and fit all files as ``read_picture`` does. What is no picture, or damaged, is listed in ``skipped``.

    Raises:
        InputError: when there is no file, when none can be read, when all together are too large, or when ``fit`` is
            unknown.
    """
    batch = _Batch(len(files), background)
    if size is not None:
        batch.allocate(size, max(MAX_BATCH_PIXELS, _machine_memory() // 2 // _BYTES_PER_PIXEL))
    for index, file in enumerate(files):
        try:
            read_size = size if crop is None else None
            picture = load_fitted(
                file, read_size, fit, lambda text, name=file.name: batch.notes.append(f"{name}: {text}")
            )
        except PictureError as error:
            batch.skipped.append(f"{printable(file.name)}: {error}")
            continue
        if size is None:
            size = picture.height, picture.width
            batch.allocate(size, MAX_BATCH_PIXELS, len(files) - index)
        if crop is None:
            batch.add(file.name, picture)
        else:
            batch.add_cropped(file.name, picture, crop)
    return batch.finish()


class _Batch:
    """A batch that is being read, in memory that is allocated once."""

    def __init__(self, count: int, background: tuple[int, int, int]) -> None:
        self.count, self.background = count, background
        self.names: list[str] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []

    def allocate(self, size: tuple[int, int], limit: int, count: int | None = None) -> None:
        """Make room for ``count`` pictures of one size (None: for all files).

        Raises:
            InputError: they have more than ``limit`` pixels together.
        """
        count = self.count if count is None else count
        pixels = count * size[0] * size[1]
        if pixels > limit and count > 1:
            raise InputError(
                f"The folder's {count} pictures of {size[1]} x {size[0]} pixels have {pixels / 1e6:.0f} million "
                f"together ({pixels * _BYTES_PER_PIXEL / 2**30:.0f} GiB); at most {limit / 1e6:.0f} million are. "
                "Choose a smaller width and height, load a part of them with 'first' and 'limit', or use Edit Folder."
            )
        self.images, self.masks = torch.empty(count, *size, 3), torch.empty(count, *size)

    def note_of(self, name: str) -> Note:
        """Return what receives remarks about a file."""
        return lambda text: self.notes.append(f"{name}: {text}")

    def add(self, name: str, picture: Image.Image) -> None:
        """Write a picture behind the others."""
        index = len(self.names)
        fill(self.images[index], self.masks[index], picture, self.background)
        self.masks[index].neg_().add_(1)
        self.names.append(printable(name))  # names travel as lines

    def add_cropped(self, name: str, picture: Image.Image, crop: Crop) -> None:
        """Write what is cut out of a picture behind the others."""
        colours, opacity = torch.empty(picture.height, picture.width, 3), torch.empty(picture.height, picture.width)
        fill(colours, opacity, picture, self.background)
        index = len(self.names)
        self.images[index], self.masks[index], remark = crop(colours, opacity)
        self.masks[index].neg_().add_(1)
        self.names.append(printable(name))
        if remark:
            self.note_of(name)(remark)

    def finish(self) -> PictureBatch:
        """Return what was read.

        Raises:
            InputError: nothing was.
        """
        if not self.names:
            detail = f" ({'; '.join(map(printable, self.skipped[:3]))})" if self.skipped else ""
            raise InputError(
                f"No picture could be read{detail}. Put files of {FORMAT_NAMES} into the folder, or choose another "
                "folder."
            )
        count = len(self.names)
        return PictureBatch(
            self.images[:count], self.masks[:count], tuple(self.names), tuple(self.skipped), tuple(self.notes)
        )


def _machine_memory() -> int:
    """Return the machine's memory in bytes; 0 where it does not say."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
