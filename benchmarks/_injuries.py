"""How files are damaged: bytes at random, or, where the form is known, the content in a container that stays sound.

Most bytes of a small file are its header, and a checksum or a length then catches the damage before anything is read;
the second way is what reaches the code behind it.
"""

from __future__ import annotations

import json
import random
import struct
from typing import Any

NUMBERS = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
ODD = (None, True, False, -1, 0, 1, 3, 10**9, 10**30, 10**400, 0.5, float("nan"), float("inf"), "", "x", "../../x", [],
       {}, [0], [1, 2, 3], [[1]], {"a": 1}, ["a", "a"], "é" * 300)  # fmt: skip
BYTES = ("U8", "I8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0")
SAME_SIZE = (("F32", "I32", "U32"), ("F16", "BF16", "I16", "U16"), BYTES, ("F64", "I64", "U64", "C64"))


def mutate(name: str, content: bytes, rng: random.Random) -> bytes:
    """One injury to a file of that name."""
    if name.endswith(".json") and rng.random() < 0.5:
        return changed_json(content, rng)
    if name.endswith(".safetensors") and rng.random() < 0.5:
        return changed_safetensors(content, rng)
    return changed_bytes(content, rng)


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """One to a few random injuries: bytes changed, dropped, doubled, moved, odd numbers written, the end cut."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        place = rng.randrange(len(data)) if data else 0
        span = rng.choice((1, 1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind == 0:
            data[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[place : place + 1] = bytes([data[place] ^ (1 << rng.randrange(8))]) if data else b""
        elif kind == 2:
            del data[place : place + span]
        elif kind == 3:
            data[place:place] = data[place : place + span]
        elif kind == 4:
            data[place : place + 8] = rng.choice(NUMBERS).to_bytes(8, "little")[: rng.choice((1, 2, 4, 8))]
        elif kind == 5:
            del data[place:]
        else:
            other = rng.randrange(len(data)) if data else 0
            data[place : place + span] = data[other : other + span]
    return bytes(data)


def changed_json(content: bytes, rng: random.Random) -> bytes:
    """A value of a JSON document replaced, dropped or moved; it stays JSON."""
    document = json.loads(content)
    return json.dumps(_changed(document, rng)).encode()


def changed_safetensors(content: bytes, rng: random.Random) -> bytes:
    """A tensor dropped, renamed, reshaped, of another type, of odd numbers; or a value of the description replaced."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    names = [name for name in header if name != "__metadata__"]
    name, kind = rng.choice(names), rng.randrange(7)
    tensor = header[name]
    start, end = tensor["data_offsets"]
    if kind == 0:
        data[start:end] = b""
        for each in names:
            at = header[each]["data_offsets"]
            header[each]["data_offsets"] = [place - (end - start) * (place >= end) for place in at]
        del header[name]
    elif kind == 1:
        header[rng.choice(("x", name + "x", name.replace(".", "_"), "codes"))] = header.pop(name)
    elif kind == 2:
        shape = tensor["shape"]
        tensor["shape"] = rng.choice((shape[::-1], [*shape, 1], [1, *shape], [_product(shape)], shape[:0] or [0]))
    elif kind == 3 and rng.random() < 0.3:
        tensor["dtype"], tensor["shape"] = rng.choice(BYTES), [end - start]
    elif kind == 3:
        alike = next((group for group in SAME_SIZE if tensor["dtype"] in group), ("F32",))
        tensor["dtype"] = rng.choice(alike)
    elif kind == 4:
        value = struct.pack("<f", rng.choice((float("nan"), float("inf"), -1e38, 1e38, 1e5, 3e38, 0.0)))
        data[start:end] = (value * ((end - start) // 4 + 1))[: end - start]
    else:
        metadata = header.get("__metadata__") or {}
        key = rng.choice(sorted(metadata) or ["config"])
        try:
            metadata[key] = json.dumps(_changed(json.loads(metadata.get(key, "{}")), rng))
        except ValueError:
            metadata[key] = rng.choice(("", "x", "[]", metadata.get(key, "")[:3]))
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data)


def _changed(document: Any, rng: random.Random) -> Any:
    """A JSON tree with one to three places changed."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = _places(document)
        if not places:
            return rng.choice(ODD)
        container, key = rng.choice(places)
        kind = rng.randrange(5)
        if kind == 0:
            del container[key]
        elif kind == 1:
            other, there = rng.choice(places)
            container[key] = json.loads(json.dumps(other[there])) if _is_there(other, there) else None
        elif kind == 2 and isinstance(container[key], int | float):
            container[key] = container[key] * rng.choice((-1, 2, 10**6)) + rng.choice((0, 1))
        else:
            container[key] = rng.choice(ODD)
    return document


def _places(tree: Any) -> list[tuple[Any, Any]]:
    pairs = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    found = [(tree, key) for key, _ in pairs]
    for _, value in pairs[:500]:
        found += _places(value)
    return found


def _is_there(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)


def _product(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
