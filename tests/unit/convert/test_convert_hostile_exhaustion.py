"""Files made to exhaust the reader: time, memory and recursion are bounded."""

from __future__ import annotations

import struct
from collections import OrderedDict

import pytest
from semantic_edit.models import CheckpointError
from semantic_edit.models.convert.unpickling.unpickler import Budget, Unpickler


def test_absurd_sizes_allocate_nothing(refuses):
    for content in (
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
        b"\x80\x04\x8d" + struct.pack("<Q", (1 << 64) - 1) + b"x.",
        b"\x80\x02B" + struct.pack("<I", 0xFFFFFFFF) + b"x.",
        b"\x80\x02T" + struct.pack("<i", -1) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", -1) + b"x.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"I" + b"9" * 100_000 + b"\n.",
    ):
        refuses(content, seconds=5)
    refuses(b"\x80\x02]r\xff\xff\xff\xff0Nj\xff\xff\xff\xff.", "neither a StyleGAN2", seconds=5)


def test_deep_nesting(refuses):
    refuses(b"\x80\x02" + b"]" + b"\x85" * 100_000 + b".", seconds=10)
    refuses(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", seconds=10)


def test_lists_that_double(forge, refuses):
    """Sixty lists, each holding the one before twice: 2^60 leaves for anybody who walks them."""
    value: list = ["ha"]
    for _ in range(60):
        value = [value, value]
    refuses(forge.dumps({"G_ema": value, "state_dict": value}), "neither a StyleGAN2", seconds=5)


def test_modules_that_double(forge, refuses):
    tree = forge.persistent("x", {"_modules": {}, "_parameters": {}, "_buffers": {}})
    for _ in range(60):
        tree = forge.persistent("x", {"_modules": {"a": tree, "b": tree}, "_parameters": {}, "_buffers": {}})
    top = forge.persistent("", {"_modules": OrderedDict(mapping=tree, synthesis=tree)})
    refuses(forge.dumps({"G_ema": top}), "nested modules", seconds=10)


def test_a_module_inside_itself(forge, refuses):
    inner: dict = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    loop = forge.New(forge.Global("model", "Net"), inner)
    inner["_modules"].update(mapping=loop, synthesis=loop)
    refuses(forge.dumps({"G_ema": loop}), "nested modules", seconds=10)


def test_endless_instructions():
    with pytest.raises(CheckpointError, match="more instructions"):
        Unpickler(b"\x80\x02N" + b"2" * 5000 + b".", budget=Budget(operations=1000)).load()


def test_nested_files_share_the_budget(forge, refuses):
    """Many small files inside one pickle may not each start with a full purse."""
    inner = forge.old_torch_file(b"\x80\x02N" + b"20" * 100_000 + b".")
    pieces = [forge.Call(forge.Global("torch.storage", "_load_from_bytes"), (inner + bytes([k]),)) for k in range(20)]
    refuses(forge.dumps(pieces, 4), "more instructions", seconds=20)


def test_copying_the_same_list_again_and_again(refuses):
    long = b"(" + b"N" * 100_000 + b"l"
    again = b"\x80\x02" + long + b"q\x000" + b"cbuiltins\nset\nh\x00\x85R0" * 400 + b"N."
    refuses(again, "copies the same data over and over", seconds=10)


def test_keys_chosen_to_collide(refuses):
    pairs = b"".join(b"J" + struct.pack("<i", k << 8) + b"N" for k in range(30_000))
    refuses(b"\x80\x02}(" + pairs + b"u.", "integers as dictionary keys", seconds=10)
    refuses(b"\x80\x02}\x8a\x09" + bytes(8) + b"\x01Ns.", "integers as dictionary keys")


def test_lines_of_the_oldest_protocol_cost_what_they_are_long(refuses):
    refuses(b"(" + b"Vx\n" * 100_000 + b"l.", seconds=10)
    refuses(b"c" + b"x" * 300_000, "does not end")
