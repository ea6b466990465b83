"""Placeholders in file name prefixes, which ComfyUI's page fills in before it queues a workflow."""

from __future__ import annotations

import re
import time
from typing import Any

from ..errors import WorkflowError

INPUT = "filename_prefix"
LONGEST = 1000  # letters of a prefix, folders included; a file system takes 255 bytes of each name
_DATE = {"d": "tm_mday", "M": "tm_mon", "h": "tm_hour", "m": "tm_min", "s": "tm_sec"}


def fill_in(prompt: dict[str, dict], aliases: dict[str, str], now: time.struct_time | None = None) -> None:
    """Fill in %date:yyyy-MM-dd% and %NODE.INPUT% in every file name prefix of a prompt, in place.

    Args:
        prompt: API-format nodes.
        aliases: by node id, the name that a person gave a node for this purpose.
        now: the time; default: that of the clock.

    A placeholder that fits nothing stays; characters that files may not have become "_". A placeholder stands for what
    another node's widget holds: placeholders in there are not filled in again.

    Raises:
        WorkflowError: a prefix that is longer than `LONGEST`, before or after.
    """
    places = _Places(prompt, aliases, now or time.localtime())
    filled = {}
    for node_id, node in prompt.items():
        prefix = node["inputs"].get(INPUT)
        if isinstance(prefix, str):
            _check_length(prompt, node_id, prefix)
            filled[node_id] = re.sub(r"%([^%]+)%", places.value, prefix)
            _check_length(prompt, node_id, filled[node_id])
    for node_id, prefix in filled.items():
        prompt[node_id]["inputs"][INPUT] = prefix


def _check_length(prompt: dict[str, dict], node_id: str, prefix: str) -> None:
    if len(prefix) > LONGEST:
        raise WorkflowError(
            f"{prompt[node_id]['_meta']['title']} (#{node_id}): its {INPUT} is longer than {LONGEST} letters; "
            "give a shorter one."
        )


class _Places:
    """What placeholders stand for."""

    def __init__(self, prompt: dict[str, dict], aliases: dict[str, str], now: time.struct_time) -> None:
        self._prompt, self._now = prompt, now
        # The first of a name counts, and a name that was given for this purpose before a title.
        self._ids = {prompt[node_id]["_meta"]["title"]: node_id for node_id in reversed(prompt)}
        self._ids |= {alias: node_id for node_id, alias in reversed(aliases.items()) if node_id in prompt}

    def value(self, match: re.Match) -> str:
        """Return what stands for a placeholder: a date, an input's value, or the placeholder itself."""
        text = match.group(1)
        if text.startswith("date:") and "." not in text:
            return _date(text[len("date:") :], self._now)
        if text.count(".") != 1:
            return match.group()
        name, input_name = text.split(".")
        value: Any = self._prompt[self._ids[name]]["inputs"].get(input_name) if name in self._ids else None
        if value is None or isinstance(value, list | dict):
            return match.group()
        letters = _format_as_javascript(value)[: LONGEST + 1]  # one more is too long already
        return re.sub(r'[/?<>\\:*|"\x00-\x1f\x7f]', "_", letters)


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
