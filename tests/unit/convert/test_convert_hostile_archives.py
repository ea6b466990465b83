"""Archives that would leave their place or explode, and files that are something else altogether."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + data


# Archives.


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../../evil.py", "/etc/cron.d/evil", "a\\..\\evil", "C:evil", "archive/../../evil"])
def test_archive_members_that_leave_the_archive(forge, refuses, name):
    refuses(zipped({"archive/data.pkl": forge.dumps({}), name: b"x"}), "points outside the archive", name="model.pt")


def test_compressed_members_that_would_explode(forge, refuses):
    tensor = forge.stored_tensor("0", 1 << 22, (1 << 22,), (1,))
    members = {"archive/data.pkl": forge.dumps(tensor), "archive/data/0": bytes(1 << 24)}
    refuses(zipped(members, zipfile.ZIP_DEFLATED), "compressed", name="model.pt")
    bomb = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1342177280,), }\n")
    content = zipped({"lat_comp.npy": bomb + bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    claimed = content.replace(struct.pack("<I", len(bomb) + (1 << 20)), struct.pack("<I", 1342177280))
    refuses(claimed, "unpacks to more than", name="pca.npz")


def test_a_member_that_is_longer_than_it_says(forge, refuses):
    raw = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1048576,), }\n") + bytes(1 << 20)
    content = zipped({"lat_comp.npy": raw}, zipfile.ZIP_DEFLATED)
    refuses(content.replace(struct.pack("<I", len(raw)), struct.pack("<I", 200)), name="pca.npz")


def test_members_that_overlap(forge, refuses):
    """Many names for the same bytes: together they claim more than the file is long."""
    numel = 1 << 16
    state = {f"w{k}": forge.stored_tensor(str(k), numel, (numel,), (1,)) for k in range(64)}
    state |= {"style.1.weight": state["w0"], "conv1.conv.weight": state["w1"]}
    content = bytearray(forge.torch_archive(state, {str(k): bytes(4 * numel if k == 0 else 0) for k in range(64)}))
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        first = archive.getinfo("archive/data/0")
    position = content.rfind(b"PK\x05\x06")
    start = int.from_bytes(content[position + 16 : position + 20], "little")
    while content[start : start + 4] == b"PK\x01\x02":
        lengths = struct.unpack("<HHH", content[start + 28 : start + 34])
        name = bytes(content[start + 46 : start + 46 + lengths[0]])
        if name.startswith(b"archive/data/"):
            content[start + 16 : start + 28] = struct.pack("<III", first.CRC, first.compress_size, first.file_size)
            content[start + 42 : start + 46] = struct.pack("<I", first.header_offset)
        start += 46 + sum(lengths)
    refuses(bytes(content), name="model.pt")


def test_archives_of_other_kinds(forge, refuses):
    data = forge.dumps({})
    refuses(zipped({"archive/data.pkl": data, "archive/constants.pkl": data}), "TorchScript", name="model.pt")
    refuses(zipped({"archive/data.pkl": data, "archive/code/x.py": b"import os"}), "TorchScript", name="model.pt")
    refuses(zipped({"readme.txt": b"hello"}), "not one that torch.save wrote", name="model.pt")
    refuses(zipped({"a/data.pkl": data, "b/data.pkl": data}), "no single data.pkl", name="model.pt")
    refuses(zipped({}), "not one that torch.save wrote", name="model.pt")
    with pytest.warns(UserWarning, match="Duplicate"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", data)
            archive.writestr("archive/data.pkl", forge.dumps([1]))
    refuses(buffer.getvalue(), "there twice", name="model.pt")
    secret = bytearray(zipped({"archive/data.pkl": data}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        secret[secret.find(magic) + offset] |= 1
    refuses(bytes(secret), "encrypted", name="model.pt")


STRANGERS = {
    b"": "empty (0 bytes)",
    b"<!DOCTYPE html><html><head><title>Sign in": "web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n": "Git LFS pointer",
    b"\x1f\x8b\x08\x00" + bytes(20): "gzip",
    b"\x89HDF\r\n\x1a\n" + bytes(20): "HDF5",
    bytes(257) + b"ustar" + bytes(200): "tar archive",
    struct.pack("<Q", 2) + b"{}": "safetensors file already",
    b"hello world, this is a text file\n" * 9: "model.pkl",
    bytes(1000): "no pickle instruction",
    bytes(range(256)) * 4: "no pickle instruction",
}


@pytest.mark.parametrize(("content", "words"), STRANGERS.items(), ids=STRANGERS.values())
def test_files_that_are_something_else(refuses, content, words):
    refuses(content, words)
