"""Unpickler that reads the pickle language without being able to run anything.

A pickle is a program for a small stack machine, and Python's own machine calls whatever the program names. This one
knows the same instructions (protocols 0 to 5; Python's `pickletools` documents them) but has nothing to call: a global
is kept as a `Name`, and "call this" is answered by the short list in `builders.py`, which makes plain data. Whatever
else a file asks for is noted and refused. Each instruction costs a bounded amount of time and memory, and their number
is bounded, so a file made to exhaust the reader gets an error as well.
"""

from __future__ import annotations

import struct
from typing import Any

from ...errors import CheckpointError
from .instructions import INSTRUCTIONS, STOP
from .machine import Budget, Machine

__all__ = ["Budget", "Unpickler"]


class Unpickler(Machine):
    """Machine that runs its pickle: `load()` returns the object."""

    def load(self) -> Any:
        """Run the pickle and return its object: plain data, `StoredTensor`, `StoredArray`, `Opaque`.

        Raises:
            CheckpointError: the refused names, else the damage of the bytes.
        """
        try:
            content = self._run()
        except CheckpointError:
            self.raise_refusals()
            raise
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error, RecursionError) as problem:
            self.raise_refusals()
            raise CheckpointError(f"damaged: {type(problem).__name__} at byte {self.position}") from None
        self.raise_refusals()
        return content

    def _run(self) -> Any:
        while self.budget.operations > 0:
            self.budget.operations -= 1
            opcode = self.read(1)[0]
            if opcode == STOP:
                return self.pop()
            instruction = INSTRUCTIONS.get(opcode)
            if instruction is None:
                raise CheckpointError(f"damaged: byte 0x{opcode:02x} at {self.position - 1} is no pickle instruction")
            instruction(self)
        raise CheckpointError("refused, because it has more instructions than any checkpoint needs")
