"""Picture files: a folder as one batch, of any size and mode; a damaged file does not stop the others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import InputError, check_choice
from ..printable import printable

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
FITS = ("crop", "pad", "stretch")


class PictureError(InputError):
    """A file that is no picture, or cannot be read; the text is the reason alone, without the file's name."""


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """Pictures of one size, and the files that could not be read."""

    images: Tensor  # [B, H, W, 3] in 0..1
    masks: Tensor  # [B, H, W], 1 where a picture is transparent
    names: tuple[str, ...]
    skipped: tuple[str, ...]  # one sentence per file that could not be read


def list_pictures(folder: Path) -> list[Path]:
    """List the picture files of a folder (not of its subfolders), in natural order: 2.png before 10.png."""
    files = [file for file in folder.iterdir() if is_picture_name(file.name)]
    return sorted((file for file in files if file.is_file()), key=lambda file: natural_key(file.name))


def is_picture_name(name: str) -> bool:
    """Return whether a file of this name counts as a picture; hidden files never do."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def read_pictures(
    files: list[Path],
    size: tuple[int, int] | None,  # height, width of the batch; None: those of the first readable picture
    fit: str = "crop",  # "crop" fills and cuts, "pad" shows all with a border, "stretch" ignores the aspect
    background: tuple[int, int, int] = (255, 255, 255),  # behind transparent pixels and in the border
) -> PictureBatch:
    """Read and fit all files. Files that are no pictures, or damaged, are listed in ``skipped``.

    Raises:
        InputError: when there is no file, when none can be read, or when ``fit`` is unknown.
    """
    images, masks, names, skipped = [], [], [], []
    for file in files:
        try:
            colours, alpha = read_picture(file, size, fit, background)
        except PictureError as error:
            skipped.append(f"{file.name}: {error}")
            continue
        size = size or (colours.shape[0], colours.shape[1])
        images.append(colours)
        masks.append(1 - alpha)
        names.append(file.name)
    if not images:
        detail = f" ({'; '.join(skipped[:3])})" if skipped else ""
        raise InputError(
            f"No picture could be read{detail}. Put PNG, JPEG or WebP files into the folder, or choose another folder."
        )
    return PictureBatch(torch.stack(images), torch.stack(masks), tuple(names), tuple(skipped))


def read_picture(
    file: Path,
    size: tuple[int, int] | None,  # height, width; None: as it is
    fit: str = "crop",
    background: tuple[int, int, int] = (255, 255, 255),
) -> tuple[Tensor, Tensor]:
    """Read one file as :func:`read_pictures` does.

    Returns:
        Colours [H, W, 3] and opacity [H, W], both in 0..1.

    Raises:
        PictureError: for any file that cannot be read.
        InputError: when ``fit`` is unknown.
    """
    check_choice("fit", fit, FITS)
    try:
        picture = _open(file)
        fitted = picture if size is None else fit_picture(picture, size, fit)
        return _flatten(fitted, background)
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise PictureError(_reason(error)) from None


def fit_picture(picture: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """Bring a picture to (height, width). RGBA in, RGBA out; the border of "pad" is transparent."""
    height, width = size
    if (picture.width, picture.height) == (width, height):
        return picture
    if fit == "stretch":
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    if fit == "crop":
        return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS, color=(0, 0, 0, 0))


def _open(file: Path) -> Image.Image:
    with Image.open(file) as image:
        image.load()
        picture = ImageOps.exif_transpose(image)  # phones store the turn beside the pixels
    if picture.mode == "F":
        raise ValueError("floating-point grey has no fixed brightness")
    if picture.mode.startswith("I"):  # 16-bit grey, which convert() would clip to white
        grey = np.array(picture, dtype=np.float64) / 257.0
        picture = Image.fromarray(grey.clip(0, 255).round().astype(np.uint8), "L")
    return picture.convert("RGBA")


def _flatten(picture: Image.Image, background: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Blend RGBA over the background: colours [H, W, 3] and opacity [H, W] in 0..1."""
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32) / 255.0)
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    backdrop = torch.tensor(background, dtype=torch.float32) / 255.0
    return colours * alpha + backdrop * (1 - alpha), alpha[..., 0]


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    if isinstance(error, Image.DecompressionBombError):
        return "too large to open safely"
    if isinstance(error, OSError) and error.strerror:  # its text would name the whole path
        return f"it cannot be read ({error.strerror})"
    text = printable(str(error).strip()) or type(error).__name__
    return f"damaged or unsupported ({text})" if len(text) < 90 else "damaged or unsupported"


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key that counts: 2.png before 10.png."""
    tokens = re.split(r"(\d+)", name.lower())
    return [(0, int(token), "") if token.isdecimal() else (1, 0, token) for token in tokens if token]
