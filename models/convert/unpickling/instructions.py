"""Instructions of the pickle language (protocols 0 to 5), as operations on the machine of `machine.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import CheckpointError
from .builders import build_state, call, instantiate
from .machine import MARK, Machine

STOP = 0x2E
MAX_INTEGER_BYTES = 64
MAX_PROTOCOL = 5


def _protocol(m: Machine) -> None:
    version = m.read(1)[0]
    if version > MAX_PROTOCOL:
        raise CheckpointError(f"is no pickle: protocol {version} does not exist")


# Numbers and text.


def _integer(m: Machine) -> None:
    text = m.read_word()
    m.push(text == "01" if text in ("00", "01") else _parse_integer(text))


def _long_line(m: Machine) -> None:
    m.push(_parse_integer(m.read_word().removesuffix("L")))


def _parse_integer(text: str) -> int:
    if len(text) > 2 * MAX_INTEGER_BYTES:
        raise CheckpointError("refused, because of an integer of absurd length")
    return int(text)


def _long(m: Machine, count: int) -> None:
    if count > MAX_INTEGER_BYTES:
        raise CheckpointError("refused, because of an integer of absurd length")
    m.push(int.from_bytes(m.read(count), "little", signed=True))


def _quoted(m: Machine) -> None:
    text = m.read_word()
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0] or "\\" in text:
        raise CheckpointError("damaged: a text constant of the oldest protocol that is not plain")
    m.push(text[1:-1])


def _text(m: Machine, count: int) -> None:
    m.push(str(m.read(count), "utf-8", "surrogatepass"))


def _old_text(m: Machine, count: int) -> None:
    m.push(str(m.read(count), "latin-1"))  # Python 2 kept text and bytes alike in these


# Containers.


def _tuple(m: Machine, count: int) -> None:
    m.push(tuple([m.pop() for _ in range(count)][::-1]))


def _frozen_set(m: Machine) -> None:
    m.push(frozenset(m.check_key(value) for value in m.pop_mark()))


def _dictionary(m: Machine) -> None:
    target: dict = {}
    m.set_items(target, m.pop_mark())
    m.push(target)


def _set_item(m: Machine) -> None:
    value, key = m.pop(), m.pop()
    m.set_items(m.stack[-1], [key, value])


def _append(m: Machine) -> None:
    value = m.pop()
    m.extend(m.stack[-1], [value])


def _appends(m: Machine) -> None:
    values = m.pop_mark()
    m.extend(m.stack[-1], values)


def _set_items(m: Machine) -> None:
    values = m.pop_mark()
    m.set_items(m.stack[-1], values)


def _add_members(m: Machine) -> None:
    values = m.pop_mark()
    m.add_members(m.stack[-1], values)


# The memo: values that are used more than once.


def _memo_index(m: Machine) -> int:
    text = m.read_word()
    if not text.isdecimal() or len(text) > 12:
        raise CheckpointError("damaged: a memo index that is no number")
    return int(text)


def _get(m: Machine, index: int) -> None:
    if index not in m.memo:
        raise CheckpointError(f"damaged: it reads memo {index} before writing it")
    m.push(m.memo[index])


def _put(m: Machine, index: int) -> None:
    if not m.stack or m.stack[-1] is MARK:
        raise CheckpointError("damaged: it memorises a value that is not there")
    m.memo[index] = m.stack[-1]


# Names.


def _global(m: Machine) -> None:
    module = m.read_word()
    m.push_global(module, m.read_word())


def _stack_global(m: Machine) -> None:
    attribute, module = m.pop(), m.pop()
    m.push_global(module, attribute)


def _old_instance(m: Machine) -> None:
    m.refuse_name(f"{m.read_word()[:200]}.{m.read_word()[:200]}")
    m.refuse_instruction("the instruction INST")


# Requests that a real machine would answer by running code.


def _reduce(m: Machine) -> None:
    """Answer "call this with these arguments"."""
    arguments, function = m.pop(), m.pop()
    m.push(call(m, function, arguments))


def _new_object(m: Machine) -> None:
    """Answer "make an object of this class"."""
    arguments, name = m.pop(), m.pop()
    m.push(instantiate(m, name, arguments))


def _build(m: Machine) -> None:
    """Answer "give this object its state"."""
    state = m.pop()
    build_state(m, m.stack[-1], state)


def _refused(name: str) -> Callable[[Machine], None]:
    return lambda m: m.refuse_instruction(name)


INSTRUCTIONS: dict[int, Callable[[Machine], Any]] = {
    0x80: _protocol,  # PROTO
    0x95: lambda m: m.read(8),  # FRAME, a hint for buffered reading
    0x28: lambda m: m.push(MARK),  # MARK
    0x30: lambda m: m.stack.pop(),  # POP
    0x31: lambda m: m.pop_mark(),  # POP_MARK
    0x32: lambda m: m.push(m.stack[-1]),  # DUP
    0x4E: lambda m: m.push(None),  # NONE
    0x88: lambda m: m.push(True),  # NEWTRUE
    0x89: lambda m: m.push(False),  # NEWFALSE
    0x46: lambda m: m.push(float(m.read_word())),  # FLOAT
    0x47: lambda m: m.push(m.read_number(">d")),  # BINFLOAT
    0x49: _integer,  # INT
    0x4C: _long_line,  # LONG
    0x4A: lambda m: m.push(m.read_number("<i")),  # BININT
    0x4B: lambda m: m.push(m.read_number("B")),  # BININT1
    0x4D: lambda m: m.push(m.read_number("<H")),  # BININT2
    0x8A: lambda m: _long(m, m.read_number("B")),  # LONG1
    0x8B: lambda m: _long(m, m.read_number("<i")),  # LONG4
    0x53: _quoted,  # STRING
    0x54: lambda m: _old_text(m, m.read_number("<i")),  # BINSTRING
    0x55: lambda m: _old_text(m, m.read_number("B")),  # SHORT_BINSTRING
    0x56: lambda m: m.push(str(m.read_line(len(m.data)), "raw-unicode-escape")),  # UNICODE
    0x58: lambda m: _text(m, m.read_number("<I")),  # BINUNICODE
    0x8C: lambda m: _text(m, m.read_number("B")),  # SHORT_BINUNICODE
    0x8D: lambda m: _text(m, m.read_number("<Q")),  # BINUNICODE8
    0x42: lambda m: m.push(m.read_bytes(m.read_number("<I"))),  # BINBYTES
    0x43: lambda m: m.push(m.read_bytes(m.read_number("B"))),  # SHORT_BINBYTES
    0x8E: lambda m: m.push(m.read_bytes(m.read_number("<Q"))),  # BINBYTES8
    0x96: lambda m: m.push(m.read_bytes(m.read_number("<Q"))),  # BYTEARRAY8
    0x5D: lambda m: m.push([]),  # EMPTY_LIST
    0x61: _append,  # APPEND
    0x65: _appends,  # APPENDS
    0x6C: lambda m: m.push(m.pop_mark()),  # LIST
    0x29: lambda m: m.push(()),  # EMPTY_TUPLE
    0x74: lambda m: m.push(tuple(m.pop_mark())),  # TUPLE
    0x85: lambda m: _tuple(m, 1),  # TUPLE1
    0x86: lambda m: _tuple(m, 2),  # TUPLE2
    0x87: lambda m: _tuple(m, 3),  # TUPLE3
    0x7D: lambda m: m.push({}),  # EMPTY_DICT
    0x64: _dictionary,  # DICT
    0x73: _set_item,  # SETITEM
    0x75: _set_items,  # SETITEMS
    0x8F: lambda m: m.push(set()),  # EMPTY_SET
    0x90: _add_members,  # ADDITEMS
    0x91: _frozen_set,  # FROZENSET
    0x67: lambda m: _get(m, _memo_index(m)),  # GET
    0x68: lambda m: _get(m, m.read_number("B")),  # BINGET
    0x6A: lambda m: _get(m, m.read_number("<I")),  # LONG_BINGET
    0x70: lambda m: _put(m, _memo_index(m)),  # PUT
    0x71: lambda m: _put(m, m.read_number("B")),  # BINPUT
    0x72: lambda m: _put(m, m.read_number("<I")),  # LONG_BINPUT
    0x94: lambda m: _put(m, len(m.memo)),  # MEMOIZE
    0x63: _global,  # GLOBAL
    0x93: _stack_global,  # STACK_GLOBAL
    0x52: _reduce,  # REDUCE
    0x81: _new_object,  # NEWOBJ
    0x62: _build,  # BUILD
    0x51: lambda m: m.push_persistent(),  # BINPERSID
    0x50: _refused("a persistent id given as text (PERSID)"),
    0x69: _old_instance,  # INST
    0x6F: _refused("the instruction OBJ"),
    0x92: _refused("the instruction NEWOBJ_EX"),
    0x82: _refused("the extension registry (EXT1)"),
    0x83: _refused("the extension registry (EXT2)"),
    0x84: _refused("the extension registry (EXT4)"),
    0x97: _refused("buffers outside the pickle (NEXT_BUFFER)"),
    0x98: _refused("buffers outside the pickle (READONLY_BUFFER)"),
}
