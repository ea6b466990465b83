"""Reading of picture files: any of the formats that are named, as 8-bit sRGB, in memory that the limits bound.

Sizes and frames are compared with the limits before anything is decoded. Nothing of Pillow's is changed for others.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import InputError, check_choice
from ..printable import printable, printable_logger
from .picture_colours import to_rgb
from .picture_formats import installed_formats
from .picture_png import SIGNATURE, png_pixels

__all__ = [
    "FITS",
    "MAX_FRAME_PIXELS",
    "MAX_PIXELS",
    "NOT_A_PICTURE",
    "Note",
    "PictureError",
    "fill",
    "load_fitted",
    "read_frames",
    "read_picture",
]

log = printable_logger(__name__)
FITS = ("crop", "pad", "stretch")
NOT_A_PICTURE = "not a picture"  # the reason where a file is of none of the formats
MAX_PIXELS = 2**27  # of one picture, or one frame: 134 million
MAX_FRAME_PIXELS = 2**28  # of all frames of one file together: 268 million
_MAX_BYTES = 2**30  # of a file: as much as MAX_PIXELS of 16-bit colour with transparency
_LARGE = 2**25  # pixels from which pictures are read one at a time
_BAND = 256  # rows at a time
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PARTIAL = {"PNG", "JPEG", "MPO", "GIF", "BMP"}  # decoders that leave what they have where the file ends

Note = Callable[[str], None]  # receives what was ignored about a picture, without the file's name
_large_pictures = threading.Lock()


class PictureError(InputError):
    """A file that is no picture, or cannot be read; the text is the reason alone, without the file's name."""


def read_picture(
    file: Path,
    size: tuple[int, int] | None,  # height, width; None: as it is
    fit: str = "crop",  # "crop" fills and cuts, "pad" shows all with a border, "stretch" ignores the aspect
    background: tuple[int, int, int] = (255, 255, 255),  # behind transparent pixels and in the border
    note: Note | None = None,  # receives what was ignored, such as a broken profile; None: it is logged
) -> tuple[Tensor, Tensor]:
    """Read one file.

    Returns:
        Colours [H, W, 3] and opacity [H, W], both in 0..1.

    Raises:
        PictureError: for any file that cannot be read, or has more than ``MAX_PIXELS`` pixels.
        InputError: when ``fit`` is unknown.
    """
    picture = load_fitted(file, size, fit, note)
    colours, opacity = torch.empty(picture.height, picture.width, 3), torch.empty(picture.height, picture.width)
    fill(colours, opacity, picture, background)
    return colours, opacity


def load_fitted(file: Path, size: tuple[int, int] | None, fit: str = "crop", note: Note | None = None) -> Image.Image:
    """Read one file as :func:`read_picture` does, but as an "RGB" or "RGBA" picture.

    Raises:
        PictureError, InputError: as there.
    """
    check_choice("fit", fit, FITS)
    note = note or _logged(file)
    with _reasons(), _opened(file, False, note) as (image, profile):
        if size is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, (2 * max(size), 2 * max(size)))  # decoded at no more than needed, and twice that at least
        with _one_at_a_time(image.size):
            image.load()
            picture = _turned(to_rgb(image, profile, note), image, note)
            return picture if size is None else _fit(picture, size, fit)


def read_frames(
    file: Path, count: int | None = None, follow_profile: bool = True, note: Note | None = None
) -> Iterator[Image.Image]:
    """Yield the frames of a file as "RGB" or "RGBA" pictures, each to be used before the next is asked for.

    A file that is cut off gives what it has. Frames of another size than the first are left out (thumbnails), and so
    are the other views of a stereo camera.

    Args:
        count: the most frames; None: all.
        follow_profile: convert colours by a profile; numbers that are no colours, as of a mask, stay as they are.

    Raises:
        PictureError: as :func:`read_picture`, and for frames that have more than ``MAX_FRAME_PIXELS`` pixels together.
    """
    note = note or _logged(file)
    with _reasons(), _opened(file, count != 1, note) as (image, profile):
        frames = 1 if count == 1 or image.format == "MPO" else _count_frames(image, note)
        frames = frames if count is None else min(count, frames)
        first = image.size
        _check_frames(frames, first)
        for index in range(frames):
            try:
                image.seek(index)
                if index and sorted(image.size) != sorted(first):
                    continue
                _load_partially(image, note)
            except Exception as error:  # decoders raise whatever they like on damaged files
                if not index:
                    raise
                note(f"it ends after {index} frames ({_reason(error)})")
                break
            yield _turned(to_rgb(image, profile if follow_profile else None, note), image, note)


def fill(colours: Tensor, opacity: Tensor, picture: Image.Image, background: tuple[int, int, int]) -> None:
    """Write a picture, "RGB" or "RGBA", over a background.

    Args:
        colours: [H, W, 3] float32, receives colours in 0..1.
        opacity: [H, W] float32, receives the opacity in 0..1.
    """
    backdrop = torch.tensor(background, dtype=torch.float32) / 255.0
    for top in range(0, picture.height, _BAND):
        rows = slice(top, min(top + _BAND, picture.height))
        band = np.asarray(picture.crop((0, top, picture.width, rows.stop)))
        pixels = torch.from_numpy(band.astype(np.float32) / 255.0)
        if picture.mode == "RGB":
            colours[rows], opacity[rows] = pixels, 1.0
        else:
            alpha = pixels[..., 3:]
            colours[rows], opacity[rows] = pixels[..., :3] * alpha + backdrop * (1 - alpha), alpha[..., 0]


def _logged(file: Path) -> Note:
    return lambda sentence: log.warning("%s: %s", printable(file.name), sentence)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever decoders raise on damaged files into a PictureError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise PictureError(_reason(error)) from None


@contextlib.contextmanager
def _opened(path: Path, animated: bool, note: Note) -> Iterator[tuple[Image.Image, bytes | None]]:
    """Open a file, look at its size, and yield the picture, not loaded yet, with its colour profile."""
    with contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(open(path, "rb"))
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_BYTES:
            raise PictureError(f"its file has {size / 2**30:.1f} GiB; at most {_MAX_BYTES / 2**30:.0f} GiB are read")
        start, profile = file.read(12), None
        if start.startswith(SIGNATURE):
            file, profile = png_pixels(file, animated, note)
        try:
            image = stack.enter_context(Image.open(file, formats=installed_formats()))
        except UnidentifiedImageError:
            if start[4:] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1", b"ftyphevc"):
                raise PictureError("HEIC is read where the package pillow-heif is installed") from None
            raise
        _check_size(image)
        if image.format == "TIFF":
            _ignore_broken_tags(image, note)
        yield image, profile or image.info.get("icc_profile") or None


def _check_size(image: Image.Image) -> None:
    """Refuse a picture that is too large, by its header.

    Raises:
        PictureError: it has more than ``MAX_PIXELS`` pixels; so has one tile of it.
    """
    sizes = [image.size]
    if image.format == "TIFF":  # a tile is decoded as a whole, and may be larger than its picture
        sizes.append(tuple(int(image.tag_v2.get(tag, 1)) for tag in (322, 323)))
    for width, height in sizes:
        if width * height > MAX_PIXELS:
            raise PictureError(
                f"it has {width} x {height} pixels, {_millions(width * height)}; at most {_millions(MAX_PIXELS)} "
                "are read"
            )


def _check_frames(frames: int, size: tuple[int, int]) -> None:
    pixels = frames * size[0] * size[1]
    if frames > 1 and pixels > MAX_FRAME_PIXELS:
        raise PictureError(
            f"it has {frames} frames of {size[0]} x {size[1]} pixels, {_millions(pixels)} together; at most "
            f"{_millions(MAX_FRAME_PIXELS)} are read"
        )


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:.0f} million"


def _ignore_broken_tags(image: Image.Image, note: Note) -> None:
    """Let a TIFF keep its pixels where tags that Pillow reads behind them are broken."""
    finish = image.load_end

    def load_end() -> None:
        try:
            finish()
        except Exception:
            note("its EXIF is damaged and was ignored")

    image.load_end = load_end


@contextlib.contextmanager
def _one_at_a_time(size: tuple[int, int]) -> Iterator[None]:
    """Let threads wait for each other with large pictures, so that memory holds one of those."""
    with _large_pictures if size[0] * size[1] > _LARGE else contextlib.nullcontext():
        yield


def _count_frames(image: Image.Image, note: Note) -> int:
    try:
        return max(1, int(getattr(image, "n_frames", 1)))
    except Exception as error:
        note(f"its frames cannot be counted ({_reason(error)}), and only the first was read")
        return 1


def _load_partially(image: Image.Image, note: Note) -> None:
    """Load a frame; of a file that is cut off, as much as there is."""
    if image.format in ("JPEG", "MPO"):
        _end_when_cut_off(image, note)
    try:
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        if image.format not in _PARTIAL:
            raise
        image.tile = []  # what was decoded so far counts as all
        image.load()
        note(f"it is cut off or damaged ({_reason(error)}), and was read as far as possible")


def _end_when_cut_off(image: Image.Image, note: Note) -> None:
    """Give a JPEG the marker of its end where the file has none: a progressive one shows nothing before."""
    read, ends = image.load_read, [b"\xff\xd9"]

    def load_read(count: int) -> bytes:
        content = read(count)
        if not content and ends:
            note("it is cut off, and was read as far as possible")
            return ends.pop()
        return content

    image.load_read = load_read


def _turned(picture: Image.Image, source: Image.Image, note: Note) -> Image.Image:
    """Turn a picture upright: phones store the turn beside the pixels."""
    try:
        orientation = source.getexif().get(_ORIENTATION, 1)
    except Exception:
        note("its EXIF is damaged and was ignored")
        return picture
    method = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if method is None else picture.transpose(method)


def _fit(picture: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """Bring a picture to (height, width); the border of "pad" is transparent."""
    height, width = size
    if (picture.width, picture.height) == (width, height):
        return picture
    if fit == "stretch":
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    if fit == "crop":
        return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    picture = ImageOps.contain(picture, (width, height), Image.Resampling.LANCZOS).convert("RGBA")
    return ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS, color=(0, 0, 0, 0))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return NOT_A_PICTURE
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {_millions(MAX_PIXELS)} pixels, the most that are read"
    if isinstance(error, OSError) and error.strerror:  # its text would name the whole path
        return f"it cannot be read ({error.strerror})"
    text = printable(str(error).strip()) or type(error).__name__
    return f"damaged or unsupported ({text})" if len(text) < 90 else "damaged or unsupported"
