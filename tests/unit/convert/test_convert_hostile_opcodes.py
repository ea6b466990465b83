"""Single instructions, states and arguments that no program that saves checkpoints writes."""

from __future__ import annotations

import pytest
from semantic_edit.models.convert.unpickling.unpickler import Unpickler

# Instructions that no checkpoint needs.

INSTRUCTIONS = {
    "INST": (b"(S'touch canary'\nios\nsystem\n.", "os.system"),
    "OBJ": (b"(cos\nsystem\nS'touch canary'\no.", "os.system"),
    "OBJ of a harmless class": (b"(cmodel\nNet\nS'x'\no.", "OBJ"),
    "NEWOBJ_EX": (b"\x80\x04cmodel\nNet\n)}\x92.", "NEWOBJ_EX"),
    "EXT1": (b"\x80\x02\x82\x01.", "EXT1"),
    "EXT2": (b"\x80\x02\x83\x01\x00.", "EXT2"),
    "EXT4": (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
    "NEXT_BUFFER": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "READONLY_BUFFER": (b"\x80\x05N\x98.", "READONLY_BUFFER"),
    "STRING with escapes": (b"S'\\x6f\\x73'\n.", "oldest protocol"),
    "protocol 77": (b"\x80\x4d].", "protocol 77"),
    "unknown byte": (b"\x80\x02\xff.", "0xff"),
    "stack underflow": (b"\x80\x020000.", "damaged"),
    "no mark": (b"\x80\x02t.", "mark is missing"),
    "mark as value": (b"\x80\x02(.", "damaged"),
    "memo never written": (b"\x80\x02h\x07.", "memo 7"),
    "memo index of the oldest protocol": (b"g-1\n.", "memo index"),
    "global made of numbers": (b"\x80\x04K\x01K\x02\x93.", "not text"),
    "call without a tuple": (b"\x80\x02ccollections\nOrderedDict\n]R.", "no tuple"),
    "new object without a tuple": (b"\x80\x02cmodel\nNet\n]\x81.", "no tuple"),
    "new object of a dict": (b"\x80\x02})\x81.", "makes an object of a dict"),
    "append to a dict": (b"\x80\x02}K\x01a.", "appended to a dict"),
    "items into a list": (b"\x80\x02]K\x01K\x02s.", "given to a list"),
    "members into a list": (b"\x80\x04](K\x01\x90.", "added to a list"),
    "odd number of items": (b"\x80\x02}(K\x01u.", "damaged"),
    "a list as key": (b"\x80\x02}]K\x02s.", "is a list"),
    "a float as key": (b"\x80\x02}G\x00\x00\x00\x00\x00\x00\x00\x00K\x02s.", "is a float"),
    "truncated at once": (b"\x80", "truncated"),
    "no end": (b"\x80\x02]" * 3, "truncated"),
    "text that is no UTF-8": (b"\x80\x02X\x02\x00\x00\x00\xff\xfe.", "damaged"),
}


@pytest.mark.parametrize("content", INSTRUCTIONS.values(), ids=INSTRUCTIONS.keys())
def test_instructions(refuses, content):
    refuses(*content)


# States: attributes that a file would set.


@pytest.mark.parametrize("state", [{"__class__": 1}, {"__setstate__": 2}, (None, {"items": 3}), [1], "text"], ids=str)
def test_states_never_become_attributes(forge, refuses, state):
    """A stand-in keeps the state as data; nothing else takes one."""
    loaded = Unpickler(forge.dumps(forge.New(forge.Global("model", "Net"), state))).load()
    assert type(loaded).__name__ == "Opaque" and loaded.name == "model.Net" and callable(loaded.get)
    refuses(forge.dumps({"G_ema": forge.New(forge.Global("model", "Net"), state)}), "neither a StyleGAN2")


def build(target: bytes, state: bytes = b"}X\x01\x00\x00\x00aK\x01s") -> bytes:
    """target, then BUILD with a state."""
    return b"\x80\x02" + target + state + b"b."


@pytest.mark.parametrize(
    "target",
    [
        b"cbuiltins\nlist\n",
        b"cmodel\nNet\n",
        b"ctorch\nFloatStorage\n",
        b"]",
        b")",
        b"K\x05",
        b"ccollections\nOrderedDict\n",
    ],
)
def test_states_given_to_what_has_none(refuses, target):
    refuses(build(target), "sets attributes of a")


def test_the_state_of_a_dictionary_is_dropped(forge):
    value = forge.Call(forge.Global("collections", "OrderedDict"), (), {"keys": "hidden", "__class__": "x"})
    assert Unpickler(forge.dumps(value)).load() == {}


# Allowed names with arguments that are not what they take.

T2 = ("torch._utils", "_rebuild_tensor_v2")
BAD_ARGUMENTS = [
    (T2, ()), (T2, (1, 2, 3, 4, 5, 6)), (T2, ("storage", 0, (2,), (1,), False, {})), (T2, (None, None, None, None)),
    (("torch._utils", "_rebuild_tensor_v3"), (1, 2, 3, 4, 5, 6, 7)), (("torch._utils", "_rebuild_parameter"), ("x", 1)),
    (("torch._utils", "_rebuild_parameter"), ()), (("torch.storage", "_load_from_bytes"), ("text",)),
    (("torch.storage", "_load_from_bytes"), ()), (("torch", "Size"), ("text",)), (("torch", "Size"), ([-1],)),
    (("torch._tensor", "_rebuild_from_type_v2"), (print.__name__, 2, (), None)),
    (("numpy.core.multiarray", "scalar"), ("f4", b"abcd")), (("numpy.core.multiarray", "scalar"), ()),
    (("numpy.core.numeric", "_frombuffer"), (b"abcd", "f4", (1,), "C")), (("numpy", "dtype"), (5,)),
    (("numpy", "dtype"), ("O8", False, True)), (("numpy", "dtype"), ("V16", False, True)), (("numpy", "dtype"), ()),
    (("collections", "OrderedDict"), ([1, 2],)), (("collections", "OrderedDict"), ([[[], 2]],)),
    (("builtins", "set"), (5,)), (("builtins", "set"), ([[]],)), (("_codecs", "encode"), ("x", "rot13")),
    (("_codecs", "encode"), (5, "latin1")), (("builtins", "bytes"), (10**9,)), (("builtins", "bytearray"), (10**9,)),
    (("torch_utils.persistence", "_reconstruct_persistent_obj"), ("x",)),
    (("torch_utils.persistence", "_reconstruct_persistent_obj"), ({},)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), BAD_ARGUMENTS, ids=str)
def test_allowed_calls_with_bad_arguments(forge, refuses, name, arguments):
    refuses(forge.dumps({"G_ema": forge.Call(forge.Global(*name), arguments)}))


@pytest.mark.parametrize("inner", [("os", "system"), ("builtins", "eval"), ("torch.storage", "_load_from_bytes")])
def test_calls_hidden_in_an_allowed_call(forge, refuses, inner):
    kind = forge.Global("torch", "Tensor")
    call = forge.Call(forge.Global("torch._tensor", "_rebuild_from_type_v2"), (forge.Global(*inner), kind, ("x",), {}))
    refuses(forge.dumps(call), "refused", inner[1])
