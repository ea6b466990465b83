"""Tensors and arrays that claim what is not there: sizes, strides, types and headers."""

from __future__ import annotations

import os
import pickle
import struct

import pytest

# Tensors and arrays that claim what is not there.

TENSORS = {
    "huge, tiny storage": ((1 << 20, 1 << 20), (0, 0), 0, 4),
    "huge by stride 0": ((1 << 40,), (0,), 0, 4),
    "beyond the storage": ((5,), (1,), 0, 4),
    "beyond by stride": ((2,), (9,), 0, 4),
    "beyond by offset": ((4,), (1,), 1, 4),
    "negative stride": ((4,), (-1,), 3, 4),
    "negative offset": ((1,), (1,), -1, 4),
    "negative size": ((-4,), (1,), 0, 4),
    "fractional size": ((1.5,), (1,), 0, 4),
    "truth as size": ((True,), (1,), 0, 4),
    "sizes and strides differ": ((2, 2), (1,), 0, 4),
    "a hundred dimensions": ((1,) * 100, (1,) * 100, 0, 4),
    "size beyond 64 bit": ((1 << 70,), (1,), 0, 4),
    "storage claims more": ((4,), (1,), 0, 1 << 30),
    "storage claims a fraction": ((4,), (1,), 0, 4.5),
    "storage claims less than nothing": ((4,), (1,), 0, -4),
    "size is text": (("4",), (1,), 0, 4),
    "shape is a number": (4, 1, 0, 4),
}


@pytest.mark.parametrize(("shape", "stride", "offset", "numel"), TENSORS.values(), ids=TENSORS.keys())
def test_tensors_that_lie(forge, refuses, shape, stride, offset, numel):
    tensor = forge.stored_tensor("0", numel, shape, stride, offset)
    content = forge.torch_archive({"direction": tensor}, {"0": forge.floats(1, 2, 3, 4)})
    refuses(content, name="age.pt", seconds=5)


def test_views_that_multiply_one_storage(forge, refuses, make_network):
    """Each tensor alone is modest; a thousand names for the same numbers are not."""
    numel = 1 << 20
    state = {f"synthesis.b4.conv1.w{k}": forge.stored_tensor("0", numel, (numel,), (1,)) for k in range(1000)}
    state["mapping.fc0.weight"] = forge.stored_tensor("0", numel, (1024, 1024), (1024, 1))
    content = forge.torch_archive(state, {"0": bytes(4 * numel)})
    refuses(content, "far more numbers than the file holds", name="model.pt", seconds=10)


def array(forge, shape, code: str, data, order: str = "<") -> bytes:
    kind = forge.Call(forge.Global("numpy", "dtype"), (code, False, True), (3, order, None, None, None, -1, -1, 0))
    empty = (forge.Global("numpy", "ndarray"), (0,), b"b")
    return forge.dumps(
        forge.Call(forge.Global("numpy.core.multiarray", "_reconstruct"), empty, (1, shape, kind, False, data)), 4
    )


@pytest.mark.parametrize(
    ("shape", "code", "data", "order"),
    [
        ((1 << 40,), "f4", b"abcd", "<"),
        ((2, -2), "f4", b"abcd" * 4, "<"),
        ((4,), "O8", [1, 2, 3, 4], "|"),
        ((1,), "f4", [1.0], "<"),
        ((1,), "f4", b"abcd", "?"),
        ((1,), "V4", b"abcd", "|"),
    ],
    ids=str,
)
def test_arrays_that_lie(forge, refuses, shape, code, data, order):
    refuses(array(forge, shape, code, data, order), seconds=5)


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + data


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }\n", b"abcd"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 79 + ",), }\n", b"abcd"),
        npy("{'descr': __import__('os').system('touch canary'), 'fortran_order': False, 'shape': (1,), }\n", b"abcd"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", pickle.dumps(os.getpid)),
        npy("(" * 5000),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", b"abcd", b"\x09\x00"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        b"\x93NUMPY",
    ],
    ids=["huge", "absurd", "code in the header", "objects", "nested header", "version", "header size", "cut"],
)
def test_npy_files_that_lie(refuses, content):
    refuses(content, name="smile.npy", seconds=5)
