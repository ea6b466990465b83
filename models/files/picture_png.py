"""PNG and APNG: the chunks that pixels need, and metadata where it is whole and small; all else is read past.

Pillow refuses a picture for an oversized or broken text, profile or checksum beside the pixels, and its limits are
global to the process. Here the file itself is shown to it without those chunks, so that no other reader is affected.
"""

from __future__ import annotations

import bisect
import io
import itertools
import os
import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO

__all__ = ["SIGNATURE", "png_pixels"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_FRAMES = {b"acTL", b"fcTL", b"fdAT"}
_METADATA = {b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
_TURN_TEXTS = (
    b"Raw profile type exif\0",
    b"XML:com.adobe.xmp\0",
)  # both may tell the turn
_MAX_METADATA = 2**20  # bytes of a chunk, and unpacked; Pillow's own limit
_MAX_PROFILE = 2**23  # bytes, unpacked: the largest profiles of printers have 3 MB
_MAX_PALETTE = 3 * 256
_MAX_CHUNKS = 2**20
_MAX_TEXTS = 8


def png_pixels(file: BinaryIO, animated: bool, note: Callable[[str], None]) -> tuple[BinaryIO, bytes | None]:
    """Return a view of a PNG file without needless chunks, and its colour profile.

    Args:
        file: open, seekable, and kept open as long as the view is used.
        animated: keep the frames behind the first.
        note: receives a sentence for metadata that is dropped though it would have mattered.

    Raises:
        ValueError: the palette is larger than a palette can be, or there are more than a million chunks.
    """
    wanted = _PIXELS | _FRAMES if animated else _PIXELS
    size = file.seek(0, os.SEEK_END)
    spans, position, texts, profile = [(0, len(SIGNATURE))], len(SIGNATURE), 0, None
    for count in itertools.count():
        file.seek(position)
        header = file.read(8)
        if len(header) < 8 or not header[4:].isalpha():
            break  # what is missing is the decoder's to report
        if count == _MAX_CHUNKS:
            raise ValueError(f"more than {_MAX_CHUNKS} chunks")
        length, kind = struct.unpack(">I4s", header)
        start, position = position, position + 12 + length
        if kind == b"PLTE" and length > _MAX_PALETTE:
            raise ValueError(f"a palette of {length} bytes")
        if kind == b"iCCP":
            profile = _unpack_profile(_checked(file, kind, length, _MAX_PROFILE))
            if profile is None:
                note("its colour profile is damaged or too large, and was ignored")
        elif kind in _METADATA:
            content = _checked(file, kind, length, _MAX_METADATA)
            is_text = kind.endswith(b"t")
            if content is None and not is_text:
                note(f"its {'EXIF' if kind == b'eXIf' else 'transparency'} is damaged and was ignored")
            elif content is not None and (not is_text or (texts < _MAX_TEXTS and _is_turn(kind, content))):
                texts += is_text
                spans.append((start, position))
        elif kind in wanted:
            if spans[-1][1] == start:
                spans[-1] = (spans[-1][0], min(position, size))
            else:
                spans.append((start, min(position, size)))
        if kind == b"IEND":
            break
    return io.BufferedReader(_Spans(file, spans), 2**16), profile


def _checked(file: BinaryIO, kind: bytes, length: int, limit: int) -> bytes | None:
    """Read the content of a chunk; None where it is longer than the limit, cut off, or not what its checksum says."""
    if length > limit:
        return None
    content = file.read(length)
    checksum = file.read(4)
    intact = len(content) == length and checksum == struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
    return content if intact else None


def _unpack_profile(content: bytes | None) -> bytes | None:
    _, _, packed = (content or b"").partition(b"\0")
    return _unpack(packed[1:], _MAX_PROFILE) if packed[:1] == b"\0" else None


def _is_turn(kind: bytes, content: bytes) -> bool:
    """Tell whether a text chunk may hold the picture's orientation, and can be unpacked within the limit."""
    keyword = next((name for name in _TURN_TEXTS if content.startswith(name)), None)
    if keyword is None:
        return False
    rest = content[len(keyword) :]
    if kind == b"zTXt":
        return rest[:1] == b"\0" and _unpack(rest[1:], _MAX_METADATA) is not None
    if kind == b"iTXt" and rest[:1] != b"\0":
        fields = rest[2:].split(b"\0", 2)
        return len(fields) == 3 and _unpack(fields[2], _MAX_METADATA) is not None
    return True


def _unpack(packed: bytes, limit: int) -> bytes | None:
    """Decompress at most ``limit`` bytes; None where there are more, or the data are damaged."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, limit)
    except zlib.error:
        return None
    return None if unpacker.unconsumed_tail else content


class _Spans(io.RawIOBase):
    """Some spans [start, end) of a file, as if there were nothing else in it."""

    def __init__(self, file: BinaryIO, spans: list[tuple[int, int]]) -> None:
        self._file, self._spans = file, spans
        self._begins = list(itertools.accumulate((end - start for start, end in spans), initial=0))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._begins[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer) -> int:
        index = bisect.bisect_right(self._begins, self._position) - 1
        if index >= len(self._spans):
            return 0
        start, end = self._spans[index]
        offset = start + self._position - self._begins[index]
        self._file.seek(offset)
        content = self._file.read(min(len(buffer), end - offset))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
