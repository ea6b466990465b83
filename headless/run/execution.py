"""Execution of one node as ComfyUI does it: once per list element, on a locked class, its output in one form."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

from ...models.errors import InputError
from ..comfy_api.io import ComfyNode, HiddenHolder, NodeOutput, Schema


@dataclass(frozen=True)
class Blocked:
    """The value of an output that its node chose not to give; nodes that need it do not run."""

    message: str | None


def execute(
    node: type[ComfyNode], schema: Schema, inputs: dict[str, list], hidden: dict[str, Any]
) -> tuple[list[list], dict]:
    """Run a node on lists of inputs.

    Args:
        node: the node class.
        schema: its schema.
        inputs: per input, the list of its values; shorter lists repeat their last value.
        hidden: the hidden values it asked for, by name.

    Returns:
        Per output the list of its values, and what the node showed ({} for nothing).
    """
    locked = _Locked(node.__name__, (node,), {"hidden": HiddenHolder(**hidden), "__module__": node.__module__})
    calls = [inputs] if schema.is_input_list else _one_by_one(inputs)
    rows, payloads = [], []  # per call: its outputs' values, and what it shows
    for arguments in calls:
        result = _call(locked, arguments, schema.is_input_list)
        rows.append(_values(result, schema))
        if result.ui is not None:
            payloads.append(result.ui if isinstance(result.ui, dict) else result.ui.as_dict())
    values = []
    for index, output in enumerate(schema.outputs or []):
        column = [row[index] for row in rows]
        values.append([item for entry in column for item in _items(entry)] if output.is_output_list else column)
    names = payloads[0] if payloads else ()
    return values, {name: [item for payload in payloads for item in payload.get(name, ())] for name in names}


class _Locked(type):
    """Closed to new attributes, as in ComfyUI: a node keeps nothing between runs."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(f"A node keeps nothing between runs: cannot set {name!r} on {cls.__name__}.")


def _call(node: type[ComfyNode], arguments: dict, lists: bool) -> NodeOutput:
    """Call a node once, unless an argument is blocked."""
    for value in arguments.values():
        for item in value if lists else (value,):
            if isinstance(item, Blocked):
                if item.message:
                    raise InputError(item.message)
                return NodeOutput(block_execution="")
    result = _as_output(node, node.execute(**arguments))
    if result.expand is not None:
        raise InputError("a node that unfolds into other nodes runs in ComfyUI only.")
    return result


def _as_output(node: type[ComfyNode], result: Any) -> NodeOutput:
    """Bring all that `execute` may return to a `NodeOutput`."""
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    if result is None:
        result = NodeOutput()
    elif isinstance(result, tuple):
        result = NodeOutput(*result)
    elif isinstance(result, dict):
        result = NodeOutput(*result.get("result", ()), ui=result.get("ui"), expand=result.get("expand"))
    if not isinstance(result, NodeOutput):
        raise TypeError(f"{node.__name__} returned {type(result).__name__}, expected NodeOutput")
    return result


def _values(result: NodeOutput, schema: Schema) -> list:
    """Return one value per output."""
    count = len(schema.outputs or [])
    if result.block_execution is not None:
        return [Blocked(result.block_execution or None)] * count
    if len(result.args) < count:
        raise TypeError(f"{schema.node_id} returned {len(result.args)} values for {count} outputs")
    return list(result.args)


def _items(value: Any) -> list:
    """Return the elements of an output list."""
    return [value] if isinstance(value, Blocked) else list(value)


def _one_by_one(inputs: dict[str, list]) -> list[dict]:
    """Return the arguments of each call, as many as the longest list is long."""
    if not inputs:
        return [{}]
    length = max(len(values) for values in inputs.values())
    if length and not all(inputs.values()):
        empty = next(name for name, values in inputs.items() if not values)
        raise InputError(f"the input {empty!r} got an empty list.")
    return [{name: values[min(i, len(values) - 1)] for name, values in inputs.items()} for i in range(length)]
