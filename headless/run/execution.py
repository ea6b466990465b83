"""Calling one node as ComfyUI calls it: once per list element, on a locked class, its answer brought to one form."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

from ...models.errors import InputError
from ..comfy_api.io import ComfyNode, HiddenHolder, NodeOutput, Schema


@dataclass(frozen=True)
class Blocked:
    """Stands for the value of an output that its node chose not to give; nodes that need it do not run."""

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
    returned, shown = [], []
    for arguments in calls:
        result = _call(locked, arguments, schema.is_input_list)
        returned.append(_values(result, schema))
        if result.ui is not None:
            shown.append(result.ui if isinstance(result.ui, dict) else result.ui.as_dict())
    values = []
    for index, output in enumerate(schema.outputs or []):
        each = [call[index] for call in returned]
        values.append([item for part in each for item in _items(part)] if output.is_output_list else each)
    return values, {name: [item for part in shown for item in part.get(name, ())] for name in shown[0]} if shown else {}


class _Locked(type):
    """Closed to new attributes, as in ComfyUI: a node keeps nothing between runs."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(f"A node keeps nothing between runs: cannot set {name!r} on {cls.__name__}.")


def _call(node: type[ComfyNode], arguments: dict, lists: bool) -> NodeOutput:
    for value in arguments.values():
        for item in value if lists else (value,):
            if isinstance(item, Blocked):
                if item.message:
                    raise InputError(item.message)
                return NodeOutput(block_execution="")
    result = node.execute(**arguments)
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
    if result.expand is not None:
        raise InputError("a node that unfolds into other nodes runs in ComfyUI only.")
    return result


def _values(result: NodeOutput, schema: Schema) -> list:
    count = len(schema.outputs or [])
    if result.block_execution is not None:
        return [Blocked(result.block_execution or None)] * count
    if len(result.args) < count:
        raise TypeError(f"{schema.node_id} returned {len(result.args)} values for {count} outputs")
    return list(result.args)


def _items(part: Any) -> list:
    return [part] if isinstance(part, Blocked) else list(part)


def _one_by_one(inputs: dict[str, list]) -> list[dict]:
    if not inputs:
        return [{}]
    length = max(len(values) for values in inputs.values())
    if length and not all(inputs.values()):
        empty = next(name for name, values in inputs.items() if not values)
        raise InputError(f"the input {empty!r} got an empty list.")
    return [{name: values[min(i, len(values) - 1)] for name, values in inputs.items()} for i in range(length)]
