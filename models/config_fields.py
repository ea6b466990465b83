"""Fields of a network's config, as a file's header has them: names and types checked against the dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from .errors import CheckpointError

_PLAIN = {"int": int, "bool": bool, "str": str}


def config_fields(config: type, values: Mapping[str, object], owner: str) -> dict[str, object]:
    """Return the arguments of a config from JSON, lists as tuples; a field "kind" is passed over.

    Args:
        config: a dataclass whose fields are int, bool, str, or tuples of int or str, annotated as text.
        values: name -> value.
        owner: of the config, for messages.

    Raises:
        CheckpointError: names the field that is unknown or of another type.
    """
    types = {field.name: str(field.type) for field in fields(config)}
    arguments: dict[str, object] = {}
    for name, value in values.items():
        if name == "kind":
            continue
        if name not in types or not _fits(types[name], value):
            raise CheckpointError(f"the {owner}'s config has no valid field {name!r}: {value!r}")
        arguments[name] = tuple(value) if isinstance(value, list) else value
    return arguments


def _fits(annotation: str, value: object) -> bool:
    if annotation in _PLAIN:
        return type(value) is _PLAIN[annotation]
    item = str if annotation.startswith("tuple[str") else int
    return isinstance(value, list) and all(type(entry) is item for entry in value)
