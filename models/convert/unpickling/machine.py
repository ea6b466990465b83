"""Pickle machine: the bytes of a file, a stack, a memo and a budget, and nothing that could be called.

`instructions.py` applies each instruction to it, `builders.py` answers requests to call something with plain data, and
`unpickler.py` runs the instructions of a file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import CheckpointError
from ..stored import Bytes, Name, Opaque, is_integer
from .whitelist import ALIASES, is_admitted

MARK = object()  # on the stack: where a list of values begins
MAX_LINE = 1 << 16  # bytes of one text argument of the old protocols
MAX_KEY_PARTS = 16
MAX_REFUSALS = 8  # names listed in the message
ELEMENT_COST = 64  # bytes that an element of a copied list counts as
KEEP_IN_FILE = 4096  # longer byte strings stay slices of the file


@dataclass
class Budget:
    """Limits of one file, nested files included. Real checkpoints use a tenth of them or less."""

    operations: int = 1_000_000  # instructions; a 1024 px generator with its optimiser needs about 50,000
    copies: int = 1 << 26  # bytes copied by instructions that copy a whole text, or ELEMENT_COST for each list element
    integer_keys: int = 20_000  # integers can be chosen to collide in a dict; text cannot

    @classmethod
    def of_file(cls, size: int) -> Budget:
        """Let a file of `size` bytes copy each of its own texts once or twice (protocol 2 keeps bytes as text)."""
        return cls(copies=(1 << 26) + 2 * size)


class Machine:
    """State of the stack machine while one pickle is read: position in the file, stack, memo, budget, refused names."""

    def __init__(
        self,
        data: Bytes,  # the file
        start: int = 0,  # where the pickle begins in it
        persistent: Callable[[Any], Any] | None = None,  # id -> object (torch's storages); None: refused
        nested: Callable[[Bytes, Budget], Any] | None = None,  # reads torch files in byte strings; None: refused
        budget: Budget | None = None,  # shared by nested files; None: that of a file of this size
    ):
        self.data = memoryview(data)
        self.position = start  # of the next byte
        self.persistent = persistent
        self.nested = nested
        self.budget = budget or Budget.of_file(len(self.data))
        self.refused: list[str] = []  # names that the file asked for and did not get
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._loaded: dict[int, tuple[Bytes, Any]] = {}  # id of a byte string -> itself, what its nested file holds

    def refuse_name(self, name: str) -> Opaque:
        """Note a refused name and return a stand-in, so that one message can list them all."""
        if name not in self.refused and len(self.refused) <= MAX_REFUSALS:
            self.refused.append(name)
        return Opaque(f"refused {name}")

    def charge(self, characters: int = 0, elements: int = 0) -> None:
        """Charge the budget for copying a text or a list, so that copying one long list a million times is an error.

        Raises:
            CheckpointError: when the budget is spent.
        """
        self.budget.copies -= characters + ELEMENT_COST * elements
        if self.budget.copies < 0:
            raise CheckpointError("refused, because it copies the same data over and over")

    def load_nested(self, data: Bytes) -> Any:
        """Return the content of the torch file inside `data`, read once however often it is asked for.

        Raises:
            CheckpointError: when nested files are not read here.
        """
        if self.nested is None:
            raise CheckpointError("refused, because it nests torch files inside torch files")
        if id(data) not in self._loaded:
            self._loaded[id(data)] = (data, self.nested(data, self.budget))
        return self._loaded[id(data)][1]

    def raise_refusals(self) -> None:
        """Raise CheckpointError with the refused names, when there are any."""
        if self.refused:
            names = ", ".join(self.refused[:MAX_REFUSALS])
            more = " and more" if len(self.refused) > MAX_REFUSALS else ""
            raise CheckpointError(f"refused, because it asks for code that a checkpoint does not need: {names}{more}")

    # Operations that the instructions are made of: on the bytes of the file ...

    def read(self, count: int) -> memoryview:
        """Return the next `count` bytes, without copying them.

        Raises:
            CheckpointError: when the file ends before.
        """
        if count < 0 or count > len(self.data) - self.position:
            raise CheckpointError(f"truncated: it ends in the middle of a value, after {len(self.data)} bytes")
        view = self.data[self.position : self.position + count]
        self.position += count
        return view

    def read_number(self, layout: str) -> Any:
        """Return the next number, whose type is in `struct`'s notation."""
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def read_bytes(self, count: int) -> Bytes:
        """Return the next byte string of `count` bytes; long ones are not copied."""
        view = self.read(count)
        return view if count > KEEP_IN_FILE else bytes(view)

    def read_line(self, longest: int = MAX_LINE) -> bytes:
        """Return the next line, without its end.

        Raises:
            CheckpointError: when it does not end within about `longest` bytes.
        """
        length = 128
        while True:  # growing windows: a line costs what its length is, not what the file's is
            window = bytes(self.data[self.position : self.position + length])
            end = window.find(b"\n")
            if end >= 0:
                self.position += end + 1
                return window[:end]
            if len(window) < length or length > longest:
                raise CheckpointError("damaged: a line of text does not end")
            length *= 4

    def read_word(self) -> str:
        """Return the next line as text: a name or a number."""
        return self.read_line().decode("utf-8").rstrip("\r")

    # ... on the stack ...

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the value off the top of the stack.

        Raises:
            CheckpointError: when a mark lies there.
        """
        value = self.stack.pop()
        if value is MARK:
            raise CheckpointError("damaged: a value is missing on the stack")
        return value

    def pop_mark(self) -> list[Any]:
        """Take the values above the last mark off the stack, and the mark.

        Raises:
            CheckpointError: when there is no mark.
        """
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise CheckpointError("damaged: a mark is missing on the stack")

    # ... on containers ...

    def check_key(self, key: Any) -> Any:
        """Return a dictionary key or set member, which must be cheap and harmless to hash.

        Raises:
            CheckpointError: when it is not, or when too many keys are integers.
        """
        if is_integer(key):
            self.budget.integer_keys -= 1
            if self.budget.integer_keys < 0 or abs(key) >= 1 << 60:
                raise CheckpointError("refused, because of too many or too large integers as dictionary keys")
        elif isinstance(key, tuple):
            if len(key) > MAX_KEY_PARTS or not all(isinstance(text, str) for text in key):
                raise CheckpointError("refused, because of a dictionary key that is neither text nor a number")
        elif not isinstance(key, str | bytes | bool | type(None)):
            raise CheckpointError(f"a dictionary key should be text or a number, but is a {type(key).__name__}")
        return key

    def extend(self, target: Any, values: list[Any]) -> None:
        """Append values to a list or an opaque object.

        Raises:
            CheckpointError: for another target.
        """
        target = target.elements if isinstance(target, Opaque) else target
        if not isinstance(target, list):
            raise CheckpointError(f"damaged: values appended to a {type(target).__name__}")
        target.extend(values)

    def set_items(self, target: Any, flat: list[Any]) -> None:
        """Set [key, value, key, value, ...] in a dictionary or an opaque object.

        Raises:
            CheckpointError: for another target.
        """
        target = target.items if isinstance(target, Opaque) else target
        if not isinstance(target, dict) or len(flat) % 2:
            raise CheckpointError(f"damaged: keys and values given to a {type(target).__name__}")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            target[self.check_key(key)] = value

    def add_members(self, target: Any, values: list[Any]) -> None:
        """Add members to a set.

        Raises:
            CheckpointError: for another target.
        """
        if not isinstance(target, set):
            raise CheckpointError(f"damaged: members added to a {type(target).__name__}")
        target.update(self.check_key(value) for value in values)

    # ... and on names, of which none is ever looked up.

    def push_global(self, module: Any, attribute: Any) -> None:
        """Push a global as its `Name`; note it as refused when it is not admitted.

        Raises:
            CheckpointError: when a name is no text.
        """
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise CheckpointError("damaged: the name of a global is not text")
        name = Name(ALIASES.get(module, module[:200]), attribute[:200])
        if not is_admitted(name):
            self.refuse_name(str(name))
        self.push(name)

    def push_persistent(self) -> None:
        """Push the object of the persistent id on the stack (BINPERSID), a value that lies outside the pickle.

        Raises:
            CheckpointError: when persistent ids are not read here.
        """
        persistent_id = self.pop()
        if self.persistent is None:
            raise CheckpointError("refused, because it points at data outside itself (a persistent id)")
        self.push(self.persistent(persistent_id))

    def refuse_instruction(self, name: str) -> None:
        """Raise CheckpointError for an instruction that no checkpoint needs."""
        raise CheckpointError(f"refused, because it uses {name}, which no checkpoint needs")
