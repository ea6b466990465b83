"""Picture files for tests, chunk by chunk and tag by tag: PNG of any content, and ICC profiles (ICC.1:2001)."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADOBE_RGB = [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]  # to XYZ, D50
D50 = (0.9642, 1.0, 0.8249)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def png(pixels, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return a PNG of pixels [H, W] (uint8 or uint16) or [H, W, 3 or 4], with chunks before and after the pixels."""
    height, width = pixels.shape[:2]
    colour = {1: 0, 3: 2, 4: 6}[1 if pixels.ndim == 2 else pixels.shape[2]]
    depth = 8 * pixels.dtype.itemsize
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(pixels.dtype.newbyteorder(">")))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        [SIGNATURE, chunk(b"IHDR", header), before, chunk(b"IDAT", zlib.compress(rows)), after, chunk(b"IEND", b"")]
    )


def empty_png(width: int, height: int, colour: int = 0, depth: int = 8) -> bytes:
    """Return a PNG that is all zero, of a few hundred kB whatever its size."""
    row = bytes(1 + width * depth * {0: 1, 2: 3, 6: 4}[colour] // 8)
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def tiff(tags: dict[int, int], content: bytes = b"") -> bytes:
    """Return a TIFF of numbers alone, and what follows its table of tags."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + content


def profile_chunk(profile: bytes) -> bytes:
    """Return an iCCP chunk."""
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))


def matrix_profile(matrix=ADOBE_RGB, gamma: float = 2.2) -> bytes:
    """Return an RGB profile of three primaries (columns of a matrix to XYZ, D50) and one curve."""
    tags = {b"wtpt": _xyz(D50)}
    for index, name in enumerate((b"r", b"g", b"b")):
        tags[name + b"XYZ"] = _xyz([row[index] for row in matrix])
        tags[name + b"TRC"] = _gamma(gamma)
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags)


def grey_profile(gamma: float) -> bytes:
    """Return a profile of grey with one curve."""
    return _profile(b"GRAY", b"XYZ ", b"mntr", {b"wtpt": _xyz(D50), b"kTRC": _gamma(gamma)})


def cmyk_profile(lightness: float) -> bytes:
    """Return a profile of four inks: black ink is black, the others are grey of a lightness in 0..100."""
    identity = bytes(range(256))
    levels = [255, 0] + [round(lightness * 2.55), 0] * 7  # black ink is the last of the four
    nodes = [(level, 128, 128) for level in levels]
    table = struct.pack(">4sxxxxBBBx9i", b"mft1", 4, 3, 2, *(65536 * (k % 4 == 0) for k in range(9)))
    lut = table + identity * 4 + bytes(value for node in nodes for value in node) + identity * 3
    return _profile(b"CMYK", b"Lab ", b"prtr", {b"wtpt": _xyz(D50), b"A2B0": lut})


def adobe_to_srgb(pixels, gamma: float = 2.2):
    """Convert pixels [..., 3] of 0..255 from `matrix_profile` to sRGB (IEC 61966-2-1), by the definitions."""
    to_srgb = np.linalg.inv([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
    linear = (pixels / 255.0) ** gamma @ np.array(ADOBE_RGB).T @ to_srgb.T
    return srgb_curve(linear.clip(0, 1)) * 255


def srgb_curve(linear):
    """Encode linear light 0..1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _xyz(values) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))


def _profile(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79), **tags}
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s12x4s", size, b"lcms", 0x02400000, kind, space, connection, b"acsp")
    header = header.ljust(68, b"\0") + struct.pack(">3i", *(round(value * 65536) for value in D50))
    return header.ljust(128, b"\0") + table + body
