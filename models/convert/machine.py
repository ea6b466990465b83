"""The machine that a pickle runs on: bytes of the file, a stack, a memo and a budget, and nothing that could be called.

`instructions.py` says what each instruction does to it, `builders.py` what a request to call something is answered
with, and `unpickler.py` runs the instructions of a file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError
from .stored import Bytes, Name, Opaque, is_whole
from .whitelist import ALIASES, admitted

MARK = object()  # on the stack: where a list of values begins
MAX_LINE = 1 << 16  # bytes of one text argument of the old protocols
MAX_KEY_PARTS = 16
MAX_REFUSALS = 8  # names listed in the message
ELEMENT_COST = 64
KEEP_IN_FILE = 4096  # longer byte strings stay slices of the file


@dataclass
class Budget:
    """What one file may cost, nested files included. Real checkpoints use a tenth of it or less."""

    operations: int = 1_000_000  # instructions; a 1024 px generator with its optimiser needs about 50,000
    copies: int = 1 << 26  # bytes copied by instructions that copy a whole text, or ELEMENT_COST for each list element
    integer_keys: int = 20_000  # integers can be chosen to collide in a dict; text cannot

    @classmethod
    def of_file(cls, size: int) -> Budget:
        """A file of `size` bytes may copy each of its own texts once or twice (protocol 2 keeps bytes as text)."""
        return cls(copies=(1 << 26) + 2 * size)


class Machine:
    """The state while one pickle inside `data` is read, from `start`; `position` is the byte that comes next.

    `persistent(id)` resolves persistent ids (torch's storages) and `nested(bytes, budget)` torch files inside byte
    strings; without them both are refused. `refused` collects the names that the file wanted and did not get.
    """

    def __init__(
        self,
        data: Bytes,
        start: int = 0,
        persistent: Callable[[Any], Any] | None = None,
        nested: Callable[[Bytes, Budget], Any] | None = None,
        budget: Budget | None = None,
    ):
        self.data = memoryview(data)
        self.position = start
        self.persistent = persistent
        self.nested = nested
        self.budget = budget or Budget.of_file(len(self.data))
        self.refused: list[str] = []
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._loaded: dict[int, tuple[Bytes, Any]] = {}  # id of a byte string -> itself, what its nested file holds

    def refuse(self, what: str) -> Opaque:
        """Notes a refused name and returns a stand-in, so that one message can list them all."""
        if what not in self.refused and len(self.refused) <= MAX_REFUSALS:
            self.refused.append(what)
        return Opaque(f"refused {what}")

    def spend(self, characters: int = 0, elements: int = 0) -> None:
        """Pays for copying a text or a list, so that copying one long list a million times is an error."""
        self.budget.copies -= characters + ELEMENT_COST * elements
        if self.budget.copies < 0:
            raise CheckpointError("refused, because it copies the same data over and over")

    def load_nested(self, data: Bytes) -> Any:
        """The torch file inside `data`, read once however often it is asked for."""
        if self.nested is None:
            raise CheckpointError("refused, because it nests torch files inside torch files")
        if id(data) not in self._loaded:
            self._loaded[id(data)] = (data, self.nested(data, self.budget))
        return self._loaded[id(data)][1]

    def raise_refusals(self) -> None:
        """Raises CheckpointError with the refused names, when there are any."""
        if self.refused:
            shown = ", ".join(self.refused[:MAX_REFUSALS])
            more = " and more" if len(self.refused) > MAX_REFUSALS else ""
            raise CheckpointError(f"refused, because it asks for code that a checkpoint does not need: {shown}{more}")

    # What the instructions are made of: bytes of the file ...

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        if count < 0 or count > len(self.data) - self.position:
            raise CheckpointError(f"truncated: it ends in the middle of a value, after {len(self.data)} bytes")
        piece = self.data[self.position : self.position + count]
        self.position += count
        return piece

    def unpack(self, layout: str) -> Any:
        """The next number, in `struct`'s notation."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def blob(self, count: int) -> Bytes:
        """The next byte string; long ones are not copied."""
        piece = self.take(count)
        return piece if count > KEEP_IN_FILE else bytes(piece)

    def line(self, longest: int = MAX_LINE) -> bytes:
        """The next line, without its end."""
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

    def word(self) -> str:
        """The next line as a name or a number."""
        return self.line().decode("utf-8").rstrip("\r")

    # ... the stack ...

    def push(self, value: Any) -> None:
        """Puts a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """The value on top of the stack."""
        value = self.stack.pop()
        if value is MARK:
            raise CheckpointError("damaged: a value is missing on the stack")
        return value

    def pop_mark(self) -> list[Any]:
        """Everything above the last mark, which goes too."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise CheckpointError("damaged: a mark is missing on the stack")

    # ... containers ...

    def key(self, key: Any) -> Any:
        """A dictionary key or set member that is cheap and harmless to hash."""
        if is_whole(key):
            self.budget.integer_keys -= 1
            if self.budget.integer_keys < 0 or abs(key) >= 1 << 60:
                raise CheckpointError("refused, because of too many or too large integers as dictionary keys")
        elif isinstance(key, tuple):
            if len(key) > MAX_KEY_PARTS or not all(isinstance(part, str) for part in key):
                raise CheckpointError("refused, because of a dictionary key that is neither text nor a number")
        elif not isinstance(key, str | bytes | bool | type(None)):
            raise CheckpointError(f"a dictionary key should be text or a number, but is a {type(key).__name__}")
        return key

    def extend(self, target: Any, values: list[Any]) -> None:
        """Appends values to a list or an opaque object."""
        target = target.elements if isinstance(target, Opaque) else target
        if not isinstance(target, list):
            raise CheckpointError(f"damaged: values appended to a {type(target).__name__}")
        target.extend(values)

    def set_items(self, target: Any, flat: list[Any]) -> None:
        """Sets [key, value, key, value, ...] in a dictionary or an opaque object."""
        target = target.items if isinstance(target, Opaque) else target
        if not isinstance(target, dict) or len(flat) % 2:
            raise CheckpointError(f"damaged: keys and values given to a {type(target).__name__}")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            target[self.key(key)] = value

    def add_members(self, target: Any, values: list[Any]) -> None:
        """Adds members to a set."""
        if not isinstance(target, set):
            raise CheckpointError(f"damaged: members added to a {type(target).__name__}")
        target.update(self.key(value) for value in values)

    # ... and names, of which none is ever looked up.

    def mention(self, module: Any, attribute: Any) -> None:
        """A global: its name is kept when it is admitted, and noted as refused when it is not."""
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise CheckpointError("damaged: the name of a global is not text")
        name = Name(ALIASES.get(module, module[:200]), attribute[:200])
        if not admitted(name):
            self.refuse(str(name))
        self.push(name)

    def resolve(self) -> None:
        """BINPERSID: "this value lies outside the pickle"."""
        pid = self.pop()
        if self.persistent is None:
            raise CheckpointError("refused, because it points at data outside itself (a persistent id)")
        self.push(self.persistent(pid))

    def decline(self, what: str) -> None:
        """An instruction that no checkpoint needs."""
        raise CheckpointError(f"refused, because it uses {what}, which no checkpoint needs")
