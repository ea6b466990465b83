"""Text from files, servers and people, made fit for one line of any terminal; and the one way to write a line to it."""

from __future__ import annotations

import logging
import unicodedata
from typing import TextIO

__all__ = ["encodable", "printable", "printable_lines", "printable_logger", "write_line"]

_JOINERS = "\u200c\u200d"  # inside Persian words and family emoji; they draw nothing and move nothing
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Write every line break, control character and stray byte of a name as an escape: "\n", "\x1b", "\xff".

    A name inside a foreign file, or of one, may hold anything, sequences that rewrite the terminal included. What comes
    out is one line, and stays as it is when it is brought through here again.
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_escape, text))


def printable_lines(text: str) -> str:
    """Make each line of a report `printable`; its line breaks stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def encodable(text: str, stream: object) -> str:
    """Escape the letters that a stream's encoding lacks: Japanese on a console of cp1252."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, UnicodeError):
        return text.encode("ascii", "backslashreplace").decode()


def write_line(stream: TextIO | None, text: str) -> None:
    """Write lines to a stream of any encoding: nothing raw gets out, and no letter makes it fail.

    Raises:
        OSError: the stream is closed at its other end, or its disk is full.
    """
    if stream is not None:  # a window without a console has none
        stream.write(encodable(printable_lines(text), stream) + "\n")


class _PrintableFilter(logging.Filter):
    """Writes the values of a record into its text, all of it printable."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), ()
        return True


_FILTER = _PrintableFilter()


def printable_logger(name: str) -> logging.Logger:
    """Return the logger of this name, whose lines are printable wherever they go: ComfyUI's console, a file."""
    logger = logging.getLogger(name)
    logger.addFilter(_FILTER)
    return logger


def _escape(letter: str) -> str:
    if letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs":  # Zs: spaces of all widths
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no UTF-8, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    if letter in _SHORT:
        return _SHORT[letter]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
