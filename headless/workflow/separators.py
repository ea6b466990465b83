r"""Separators of folders in chosen files: a workflow saved on Windows names "faces\mine.safetensors"."""

from __future__ import annotations

from typing import Any

from .document import Prompt
from .widgets import choices, input_specs

__all__ = ["mend_separators"]


def mend_separators(prompt: Prompt, info: dict[str, dict]) -> None:
    """Choose, in place, the one entry of a list that differs from a value in the separators of folders alone.

    Args:
        prompt: the workflow.
        info: description of every node known, by class type.
    """
    for node in prompt.nodes.values():
        for name, _, kind, options in input_specs(info.get(node["class_type"], {})):
            value = node["inputs"].get(name)
            if isinstance(value, str) and ("\\" in value or "/" in value):
                node["inputs"][name] = _listed(value, choices(kind, options) or [])


def _listed(value: str, entries: list[Any]) -> str:
    """Return the entry that a value stands for; the value itself where there is none, or more than one."""
    if value in entries:
        return value
    alike = [each for each in entries if isinstance(each, str) and _spelled(each) == _spelled(value)]
    return alike[0] if len(alike) == 1 else value


def _spelled(name: str) -> str:
    return name.replace("\\", "/")
