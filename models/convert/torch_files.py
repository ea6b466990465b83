"""Reader of torch's two file formats: the archive, and the row of pickles before torch 1.6 (and in plain pickles).

torch stores its archive members uncompressed, which is demanded here: such an archive cannot grow when it is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

from ..errors import CheckpointError
from .archives import ZIP_ERRORS, Archive, open_archive
from .stored import ITEM_SIZE, Bytes, Name, Storage, is_integer
from .unpickling.unpickler import Budget, Unpickler
from .unpickling.whitelist import STORAGES

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an old file
_LEGACY_PROTOCOL = 1001


def read_legacy(data: Bytes, position: int, nested: Any, budget: Budget) -> Any:
    """Read the content of an old torch file whose first pickle, the magic number, ended at `position`.

    The order is: protocol number, facts about the computer, the content, the names of the storages, their raw numbers.
    `nested` reads torch files inside it, None refuses them.

    Raises:
        CheckpointError: for a damaged or truncated file, and for another version.
    """
    header = []
    for _ in range(2):
        unpickler = Unpickler(data, position, budget=budget)
        header.append(unpickler.load())
        position = unpickler.position
    protocol, system = header
    if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
        raise CheckpointError("is a torch file of an unknown version")
    swap = system.get("little_endian") is False
    positions: dict[str, tuple[int, int]] = {}
    storages: dict[str, Storage] = {}

    def fetch(key: str) -> Bytes:
        if key not in positions:
            raise CheckpointError(f"truncated: the numbers of storage {key[:40]!r} are missing")
        begin, length = positions[key]
        return memoryview(data)[begin : begin + length]

    def persistent(persistent_id: Any) -> Any:
        if isinstance(persistent_id, tuple) and len(persistent_id) == 4 and persistent_id[0] == "module":
            return persistent_id[1]  # a module class with its source, which is not read
        if isinstance(persistent_id, tuple) and len(persistent_id) > 5 and persistent_id[5] is not None:
            raise CheckpointError("holds views of storages in the way of torch before 0.4, which is not read")
        storage = storage_of(persistent_id, fetch, swap)
        if storages.setdefault(persistent_id[2], storage).element != storage.element:
            raise CheckpointError("damaged: a storage has two number types")
        return storages[persistent_id[2]]

    unpickler = Unpickler(data, position, persistent, nested, budget)
    content = unpickler.load()
    unpickler = Unpickler(data, unpickler.position, budget=budget)
    keys = unpickler.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("damaged: the list of its storages is not readable")
    _locate(data, unpickler.position, keys, storages, positions)
    return content


def _locate(
    data: Bytes, position: int, keys: list[str], storages: dict[str, Storage], positions: dict[str, tuple[int, int]]
) -> None:
    """Fill `positions` with where the numbers of each storage lie, (first byte, number of bytes)."""
    for key in keys:
        if key not in storages:
            raise CheckpointError(f"damaged: storage {key[:40]!r} is listed but never used")
        if position + 8 > len(data):
            raise CheckpointError("truncated: the numbers of its tensors are incomplete")
        count = int.from_bytes(data[position : position + 8], "little")
        length = count * ITEM_SIZE[storages[key].element]
        position += 8
        if length > len(data) - position:
            raise CheckpointError("truncated: the numbers of its tensors are incomplete")
        positions[key] = (position, length)
        position += length


def read_nested(data: Bytes, budget: Budget) -> Any:
    """Read a torch file inside a pickle; deeper nesting is refused."""
    if bytes(data[:4]) == b"PK\x03\x04":
        return read_torch_archive(open_archive(data), None, budget)
    first = Unpickler(data, budget=budget)
    if first.load() != LEGACY_MAGIC:
        raise CheckpointError("damaged: a nested torch file has the wrong first number")
    return read_legacy(data, first.position, None, budget)


def read_torch_archive(archive: Archive, nested: Any, budget: Budget) -> Any:
    """Read the content of a file that torch.save wrote since torch 1.6.

    Raises:
        CheckpointError: for other archives, TorchScript, and members that are missing, compressed or too large.
    """
    pickles = [name for name in archive.members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError("is an archive, but not one that torch.save wrote (it has no single data.pkl)")
    root = pickles[0].split("/")[0]
    if f"{root}/constants.pkl" in archive.members or any(name.startswith(f"{root}/code/") for name in archive.members):
        raise CheckpointError("is a TorchScript program, not a checkpoint; save its state_dict() instead")
    unread = [archive.size]

    def read_member(name: str) -> bytes:
        info = archive.members.get(name)
        if info is None:
            raise CheckpointError(f"truncated: the archive lacks {name[:80]!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > archive.size:
            raise CheckpointError("refused, because an archive member is compressed or larger than the whole file")
        unread[0] -= info.file_size  # members that overlap would otherwise multiply what is read
        if unread[0] < 0:
            raise CheckpointError("refused, because its archive members together are larger than the file")
        try:
            return archive.file.read(info)
        except ZIP_ERRORS as problem:
            raise CheckpointError(f"is a damaged archive ({str(problem)[:80]})") from None

    order = read_member(f"{root}/byteorder") if f"{root}/byteorder" in archive.members else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError("damaged: the archive's byte order")
    storages: dict[tuple[str, str], Storage] = {}

    def persistent(persistent_id: Any) -> Storage:
        storage = storage_of(persistent_id, lambda key: read_member(f"{root}/data/{key}"), order == b"big")
        return storages.setdefault((persistent_id[2], storage.element), storage)

    return Unpickler(read_member(pickles[0]), 0, persistent, nested, budget).load()


def storage_of(persistent_id: Any, fetch: Callable[[str], Bytes], swap: bool) -> Storage:
    """Describe torch's persistent id as a `Storage`.

    Args:
        persistent_id: ("storage", class, key, device, numel, ...). The device ("cuda:0") is ignored.
        fetch: brings the bytes of a key.
        swap: the numbers are big-endian.

    Raises:
        CheckpointError: for another id, and for a number type that is not read.
    """
    if not isinstance(persistent_id, tuple) or len(persistent_id) < 5 or persistent_id[0] != "storage":
        raise CheckpointError(f"refused, because of an unknown persistent id {str(persistent_id)[:60]}")
    kind, key, _device, numel = persistent_id[1:5]
    element = STORAGES.get(str(kind)) if isinstance(kind, Name) else None
    if element is None:
        raise CheckpointError(f"a tensor of the storage type {str(kind)[:60]}, which is not read here")
    if not isinstance(key, str) or not is_integer(numel) or not 0 <= numel < 1 << 40:
        raise CheckpointError("damaged: the key or the size of a storage")
    return Storage(element, numel, lambda: fetch(key), swap)
