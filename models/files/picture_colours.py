"""Colours of a picture file as 8-bit sRGB: every mode of Pillow's, and ICC profiles by LittleCMS."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

__all__ = ["to_rgb"]

_BAND = 256  # rows at a time, where numbers are needed that are wider than a picture's
_MAX_PROFILE = 2**23  # bytes
_SAME = 2  # of 255: a profile that changes no colour by more is sRGB, and the pixels stay as they are
_EXACT = 0x0100  # cmsFLAGS_NOOPTIMIZE
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of a profile, and the mode it describes


def to_rgb(image: Image.Image, profile: bytes | None, note: Callable[[str], None]) -> Image.Image:
    """Convert a loaded picture to "RGB", or to "RGBA" where it has transparency.

    16-bit grey is scaled, LAB and CMYK are turned into colours, and a profile (None: there is none, or colours are not
    of interest) is followed; one that cannot be used is ignored.

    Args:
        note: receives a sentence about a profile that was ignored.

    Returns:
        The picture; the same object where nothing had to be changed.

    Raises:
        ValueError: floating-point grey, which has no fixed brightness.
    """
    if image.mode == "F":
        raise ValueError("floating-point grey has no fixed brightness")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode == "LAB":
        return _transform(image, ImageCms.createProfile("LAB"), "RGB")
    if profile is None:
        return _plain(image)
    try:
        return _follow(image, profile)
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError) as problem:
        text = str(problem) if isinstance(problem, _UnusableProfileError) else "its colour profile is damaged"
        note(f"{text}, and was ignored")
        return _plain(image)


class _UnusableProfileError(ValueError):
    """A profile that does not describe the picture."""


def _plain(image: Image.Image) -> Image.Image:
    """Convert without a profile."""
    mode = "RGBA" if _is_transparent(image) else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 0..65535 to 0..255, with the grey that stands for transparency; ``convert`` would clip it."""
    key = image.info.get("transparency")
    picture = Image.new("L" if not isinstance(key, int) else "LA", image.size)
    for top in range(0, image.height, _BAND):
        box = (0, top, image.width, min(top + _BAND, image.height))
        grey = np.asarray(image.crop(box)).astype(np.int64).clip(0, 65535)
        band = Image.fromarray(((grey + 128) // 257).astype(np.uint8))  # 257 is odd: no halves
        if isinstance(key, int):
            opacity = Image.fromarray(np.where(grey == key, 0, 255).astype(np.uint8))
            band = Image.merge("LA", (band, opacity))
        picture.paste(band, box)
    return picture


def _follow(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert by a profile.

    Raises:
        _UnusableProfileError: it is too large, or for another kind of colours than these.
        ImageCms.PyCMSError, OSError: it is damaged.
    """
    if len(profile) > _MAX_PROFILE:
        raise _UnusableProfileError("its colour profile is too large")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _SPACES.get(source.profile.xcolor_space)
    if mode is None or (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and not _is_grey(image)):
        raise _UnusableProfileError("its colour profile is for another kind of colours")
    if mode == "CMYK":
        return _transform(image, source, "RGB")
    plain = _plain(image)
    if mode == "L":
        colours = _follow_grey(plain.convert("L"), source)
        if plain.mode == "RGBA":
            colours.putalpha(plain.getchannel("A"))
        return colours
    return plain if _is_srgb(source) else _transform(plain, source, plain.mode)


def _follow_grey(grey: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    """Convert each of the 256 levels exactly; LittleCMS' own table for whole pictures is coarse where it is dark."""
    levels = Image.frombytes("L", (256, 1), bytes(range(256)))
    table = _transform(levels, source, "RGB", _EXACT)
    return Image.merge("RGB", [grey.point(band.tobytes()) for band in table.split()])


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La")


def _is_srgb(source: ImageCms.ImageCmsProfile) -> bool:
    """Tell whether a profile leaves colours as they are, by a grid of 17 x 17 x 17 of them."""
    levels = np.linspace(0, 255, 17).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(17, -1, 3)
    converted = np.asarray(_transform(Image.fromarray(grid), source, "RGB"))
    return int(np.abs(converted.astype(int) - grid).max()) <= _SAME


def _transform(image: Image.Image, source: object, mode: str, flags: int = 0) -> Image.Image:
    """Bring a picture from a profile to sRGB in "RGB" or "RGBA"; opacity stays."""
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, mode, flags=flags)
    return ImageCms.applyTransform(image, transform)
