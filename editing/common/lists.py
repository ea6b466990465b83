"""Lists that people type into one line: names, rows, positions."""

from __future__ import annotations

import re

__all__ = ["typed_list"]

# A comma as it comes from a keyboard in another language too; newlines and semicolons come with what is pasted.
_SEPARATORS = re.compile("[,;\n\N{FULLWIDTH COMMA}\N{IDEOGRAPHIC COMMA}\N{FULLWIDTH SEMICOLON}\N{ARABIC COMMA}]")


def typed_list(text: str) -> list[str]:
    """Split ``text`` into entries without the blanks around them; empty ones are left out."""
    return [entry for raw in _SEPARATORS.split(text) if (entry := raw.strip())]
