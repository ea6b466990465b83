"""torch's two file formats: the archive of today, and the row of pickles before torch 1.6 (and inside plain pickles).

torch stores its archive members uncompressed, which is demanded here: such an archive cannot grow when it is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

from ..errors import CheckpointError
from .archives import ZIP_ERRORS, Archive, open_archive
from .stored import ITEM_SIZE, Bytes, Name, Storage, is_whole
from .unpickler import Budget, Unpickler
from .whitelist import STORAGES

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an old file
_LEGACY_PROTOCOL = 1001


def read_legacy(data: Bytes, position: int, nested: Any, budget: Budget) -> Any:
    """The content of an old torch file whose first pickle, the magic number, ended at `position`.

    The order is: protocol number, facts about the computer, the content, the names of the storages, their raw numbers.
    """
    steps = []
    for _ in range(2):
        machine = Unpickler(data, position, budget=budget)
        steps.append(machine.load())
        position = machine.position
    if steps[0] != _LEGACY_PROTOCOL or not isinstance(steps[1], dict):
        raise CheckpointError("is a torch file of an unknown version")
    swap = steps[1].get("little_endian") is False
    positions: dict[str, tuple[int, int]] = {}
    storages: dict[str, Storage] = {}

    def fetch(key: str) -> Bytes:
        if key not in positions:
            raise CheckpointError(f"truncated: the numbers of storage {key[:40]!r} are missing")
        begin, length = positions[key]
        return memoryview(data)[begin : begin + length]

    def persistent(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # a module class with its source, which is not read
        if isinstance(pid, tuple) and len(pid) > 5 and pid[5] is not None:
            raise CheckpointError("holds views of storages in the way of torch before 0.4, which is not read")
        storage = storage_of(pid, fetch, swap)
        if storages.setdefault(pid[2], storage).element != storage.element:
            raise CheckpointError("damaged: a storage has two number types")
        return storages[pid[2]]

    machine = Unpickler(data, position, persistent, nested, budget)
    content = machine.load()
    keys_machine = Unpickler(data, machine.position, budget=budget)
    keys = keys_machine.load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("damaged: the list of its storages is not readable")
    _locate(data, keys_machine.position, keys, storages, positions)
    return content


def _locate(
    data: Bytes, position: int, keys: list[str], storages: dict[str, Storage], positions: dict[str, tuple[int, int]]
) -> None:
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
    """A torch file inside a pickle; deeper nesting is refused."""
    if bytes(data[:4]) == b"PK\x03\x04":
        return read_torch_archive(open_archive(data), None, budget)
    first = Unpickler(data, budget=budget)
    if first.load() != LEGACY_MAGIC:
        raise CheckpointError("damaged: a nested torch file has the wrong first number")
    return read_legacy(data, first.position, None, budget)


def read_torch_archive(archive: Archive, nested: Any, budget: Budget) -> Any:
    """The content of a file that torch.save wrote since torch 1.6."""
    pickles = [name for name in archive.members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError("is an archive, but not one that torch.save wrote (it has no single data.pkl)")
    root = pickles[0].split("/")[0]
    if f"{root}/constants.pkl" in archive.members or any(name.startswith(f"{root}/code/") for name in archive.members):
        raise CheckpointError("is a TorchScript program, not a checkpoint; save its state_dict() instead")
    unread = [archive.size]

    def stored(name: str) -> bytes:
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

    order = stored(f"{root}/byteorder") if f"{root}/byteorder" in archive.members else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError("damaged: the archive's byte order")
    storages: dict[tuple[str, str], Storage] = {}

    def persistent(pid: Any) -> Storage:
        storage = storage_of(pid, lambda key: stored(f"{root}/data/{key}"), order == b"big")
        return storages.setdefault((pid[2], storage.element), storage)

    return Unpickler(stored(pickles[0]), 0, persistent, nested, budget).load()


def storage_of(persistent_id: Any, fetch: Callable[[str], Bytes], swap: bool) -> Storage:
    """torch's persistent id ("storage", class, key, device, numel, ...) as a Storage whose bytes `fetch(key)` brings.

    The device ("cuda:0") is ignored: numbers are numbers. Raises CheckpointError for anything else.
    """
    if not isinstance(persistent_id, tuple) or len(persistent_id) < 5 or persistent_id[0] != "storage":
        raise CheckpointError(f"refused, because of an unknown persistent id {str(persistent_id)[:60]}")
    kind, key, _device, numel = persistent_id[1:5]
    element = STORAGES.get(str(kind)) if isinstance(kind, Name) else None
    if element is None:
        raise CheckpointError(f"a tensor of the storage type {str(kind)[:60]}, which is not read here")
    if not isinstance(key, str) or not is_whole(numel) or not 0 <= numel < 1 << 40:
        raise CheckpointError("damaged: the key or the size of a storage")
    return Storage(element, numel, lambda: fetch(key), swap)
