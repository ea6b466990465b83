"""Workflows inside pictures: PNG texts, and the EXIF of WebP, JPEG and AVIF.

ComfyUI writes texts named "workflow" and "prompt" into PNG. Its SaveAnimatedWEBP, and nodes that save JPEG and AVIF,
put them into EXIF: tags from Make (0x010F) downwards hold "workflow:{...}", Model (0x0110) "prompt:{...}"; its page
takes any tag of that form, in any case. Some packs write one JSON object of both into the user comment (0x9286).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

__all__ = ["PICTURES", "workflow_text"]

PICTURES = (".png", ".apng", ".webp", ".jpg", ".jpeg", ".jfif", ".avif")
_FORMATS = ("PNG", "WEBP", "JPEG", "AVIF")
_NAMES = ("workflow", "prompt")
_EXIF_FOLDER, _USER_COMMENT = 0x8769, 0x9286
_CHARSET_LETTERS = 8  # before a user comment: "ASCII", "UNICODE", padded with NUL


def workflow_text(path: Path) -> str:
    """Return the workflow, else the prompt, that a picture carries, as JSON.

    Raises:
        ValueError: not a picture that can be opened, or one without a workflow.
        OSError: it cannot be read.
    """
    formats = [name for name in _FORMATS if name in Image.registered_extensions().values()]
    try:
        with warnings.catch_warnings(), Image.open(path, formats=formats) as picture:
            warnings.simplefilter("ignore")
            texts = {name: value for name, value in picture.info.items() if name in _NAMES and isinstance(value, str)}
            for name, value in _exif_texts(picture):
                texts.setdefault(name, value)
            if not texts and picture.format == "PNG":  # texts behind the pixels: Pillow has to read those first
                texts = {name: str(value) for name, value in picture.text.items() if name in _NAMES}
    except UnidentifiedImageError:
        raise ValueError("not a picture that can be opened") from None
    except (SyntaxError, EOFError, Image.DecompressionBombError) as error:  # what Pillow raises for broken chunks
        raise ValueError(f"the picture is damaged: {error}") from None
    for name in _NAMES:
        if name in texts:
            return texts[name]
    raise ValueError("the picture carries no workflow")


def _exif_texts(picture: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield the named texts that a picture's EXIF holds; broken EXIF holds none."""
    try:
        exif = picture.getexif()
        values = dict(exif)
        comment = exif.get_ifd(_EXIF_FOLDER).get(_USER_COMMENT, values.get(_USER_COMMENT))
    except (SyntaxError, ValueError, OSError, KeyError, TypeError, LookupError):
        return
    for value in values.values():
        name, colon, text = _decoded(value).partition(":")
        if colon and name.strip().lower() in _NAMES:
            yield name.strip().lower(), text.rstrip("\0")
    try:
        named = json.loads(_decoded(comment).strip("\0 "))
    except (ValueError, RecursionError):
        return
    for name, value in named.items() if isinstance(named, dict) else ():
        if name in _NAMES and value:
            yield name, value if isinstance(value, str) else json.dumps(value)


def _decoded(value: object) -> str:
    """Return an EXIF value as text, "" for a number."""
    if isinstance(value, str):
        return value
    if not isinstance(value, bytes):
        return ""
    charset, content = value[:_CHARSET_LETTERS], value[_CHARSET_LETTERS:]
    if charset.startswith(b"UNICODE"):
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        return content.decode("utf-16" if wide else "utf-16-be" if content[:1] == b"\0" else "utf-16-le", "replace")
    return (content if charset.startswith((b"ASCII", b"\0")) else value).decode("utf-8", "replace")
