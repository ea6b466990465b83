"""Placeholders in file name prefixes, which ComfyUI's page fills in before it queues a workflow."""

from __future__ import annotations

import re
import time
from typing import Any

INPUT = "filename_prefix"
_DATE = {"d": "tm_mday", "M": "tm_mon", "h": "tm_hour", "m": "tm_min", "s": "tm_sec"}


def fill_in(prompt: dict[str, dict], aliases: dict[str, str], now: time.struct_time | None = None) -> None:
    """Fill in %date:yyyy-MM-dd% and %NODE.INPUT% in every file name prefix of a prompt, in place.

    Args:
        prompt: API-format nodes.
        aliases: by node id, the name that a person gave a node for this purpose.
        now: the time; default: that of the clock.

    A placeholder that fits nothing stays; characters that files may not have become "_".
    """
    for node in prompt.values():
        prefix = node["inputs"].get(INPUT)
        if isinstance(prefix, str):
            node["inputs"][INPUT] = re.sub(r"%([^%]+)%", lambda match: _value(match, prompt, aliases, now), prefix)


def _value(match: re.Match, prompt: dict[str, dict], aliases: dict[str, str], now: time.struct_time | None) -> str:
    """Return what stands for a placeholder: a date, an input's value, or the placeholder itself."""
    text = match.group(1)
    if text.startswith("date:") and "." not in text:
        return _date(text[len("date:") :], now or time.localtime())
    if text.count(".") != 1:
        return match.group()
    name, input_name = text.split(".")
    ids = [node_id for node_id, alias in aliases.items() if alias == name and node_id in prompt]
    ids = ids or [node_id for node_id, node in prompt.items() if node["_meta"]["title"] == name]
    value: Any = prompt[ids[0]]["inputs"].get(input_name) if ids else None
    if value is None or isinstance(value, list | dict):
        return match.group()
    return re.sub(r'[/?<>\\:*|"\x00-\x1f\x7f]', "_", _format_as_javascript(value))


def _format_as_javascript(value: Any) -> str:
    """Write a value as ComfyUI's page does: lower-case truth, whole numbers without a point."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _date(pattern: str, now: time.struct_time) -> str:
    """Fill in a pattern of letters such as yyyy-MM-dd."""

    def field(match: re.Match) -> str:
        letters = match.group()
        if letters.startswith("y"):
            return {2: str(now.tm_year)[2:], 4: str(now.tm_year)}.get(len(letters), letters)
        return str(getattr(now, _DATE[letters[0]])).zfill(len(letters))

    return re.sub(r"yyyy|yyy|yy|dd?|MM?|hh?|mm?|ss?", field, pattern)
