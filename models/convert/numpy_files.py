"""Reader of numpy's .npy and .npz files of plain numbers."""

from __future__ import annotations

import math
import re
import zipfile

from ..errors import CheckpointError
from .archives import ZIP_ERRORS, Archive
from .stored import Bytes, ElementType, StoredArray
from .unpickling.whitelist import NUMPY_TYPES

MAX_ARRAY_BYTES = 1 << 30  # of all members of an .npz together, which may be compressed
MAX_NPY_HEADER = 10_000

# The header is one line in Python's notation; it is matched here instead of evaluated.
_NPY_HEADER = re.compile(
    r"\{'descr': ?'(?P<order>[<>|=])(?P<code>[a-z]\d{1,2})', ?'fortran_order': ?(?P<fortran>True|False), ?"
    r"'shape': ?\((?P<shape>[0-9, ]{0,80})\),? ?\} *\n?"
)


def read_npy(data: Bytes) -> StoredArray:
    """Read a .npy file of plain numbers.

    Raises:
        CheckpointError: for objects, records, text, and data that do not fit the shape.
    """
    version = bytes(data[6:8])
    width = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}.get(version)
    if width is None or len(data) < 8 + width:
        raise CheckpointError("is a damaged or truncated .npy file")
    length = int.from_bytes(data[8 : 8 + width], "little")
    body = 8 + width + length
    if length > MAX_NPY_HEADER or body > len(data):
        raise CheckpointError("is a damaged or truncated .npy file")
    header = bytes(data[8 + width : body]).decode("latin-1")
    match = _NPY_HEADER.fullmatch(header)
    if match is None or match["code"] not in NUMPY_TYPES:
        content = "Python objects, which could run code" if "'|O'" in header else "something else than plain numbers"
        raise CheckpointError(f"holds {content}; expected an array of floating-point numbers")
    shape = tuple(int(size) for size in match["shape"].split(",") if size.strip())
    element = ElementType(NUMPY_TYPES[match["code"]], ">" if match["order"] == ">" else "<")
    count = math.prod(shape)
    if count > len(data):
        raise CheckpointError(f"truncated: an array of shape {list(shape)} cannot be in {len(data)} bytes")
    return StoredArray().fill(shape, element, match["fortran"] == "True", memoryview(data)[body:])


def read_npz(archive: Archive) -> dict[str, StoredArray]:
    """Read every array of an .npz by name.

    Raises:
        CheckpointError: when it would unpack to more than a gigabyte, and as `read_npy`.
    """
    arrays: dict[str, StoredArray] = {}
    budget = MAX_ARRAY_BYTES
    for name, info in archive.members.items():
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(f"holds {name[:60]!r} in a compression that numpy does not write")
        budget -= info.file_size
        if budget < 0:
            raise CheckpointError(f"refused, because it unpacks to more than {MAX_ARRAY_BYTES >> 20} MiB")
        try:
            with archive.file.open(info) as member:
                raw = member.read(info.file_size + 1)  # never more than was announced
        except ZIP_ERRORS as problem:
            raise CheckpointError(f"is a damaged archive ({str(problem)[:80]})") from None
        arrays[name.removesuffix(".npy")] = read_npy(raw)
    return arrays
