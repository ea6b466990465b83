"""Validation: everything that can be known to be wrong with a prompt before any node runs, each as a sentence."""

from __future__ import annotations

import inspect
import math
from typing import Any, NamedTuple

from ...host import is_text
from ...models.code_range import is_number
from ...models.printable import printable_logger
from ..errors import WorkflowError
from ..workflow.document import Prompt
from ..workflow.separators import mend_separators
from ..workflow.widgets import choices, has_widget, input_specs

CONVERT = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}
log = printable_logger(__name__)


def is_wire(value: Any) -> bool:
    """Return True when an input's value stands for another node's output."""
    return isinstance(value, list)


def unwrapped(value: Any) -> Any:
    """Return a constant's value: a list travels as {"__value__": list}, since a bare one would be a wire."""
    return value["__value__"] if isinstance(value, dict) and set(value) == {"__value__"} else value


class Plan(NamedTuple):
    """The work that a prompt asks for."""

    outputs: list[str]  # output nodes, in the prompt's order
    order: list[str]  # every node they need and themselves, sources first


def check(prompt: Prompt, nodes: dict[str, type], info: dict[str, dict]) -> Plan:
    """Check a prompt and bring its constants to their inputs' types, in place.

    Args:
        prompt: the workflow.
        nodes: node classes by class type.
        info: their descriptions by class type.

    Raises:
        WorkflowError: with one sentence for each mistake found in the nodes that would run.
    """
    unknown = [
        f"{prompt.title(node_id)} is of the type {node['class_type']!r}, which is not installed here."
        for node_id, node in prompt.nodes.items()
        if node["class_type"] not in nodes
    ]
    if unknown:
        raise WorkflowError(*unknown)
    outputs = [node_id for node_id, node in prompt.nodes.items() if info[node["class_type"]]["output_node"]]
    if not outputs:
        raise WorkflowError("The workflow has no output: add a node that saves or previews, such as Save Image.")
    order = check_wires(prompt, outputs)
    mend_separators(prompt, info)
    problems = [problem for node_id in order for problem in _Checks(prompt, node_id, nodes, info).problems()]
    if problems:
        raise WorkflowError(*problems)
    return Plan(outputs, order)


def check_wires(prompt: Prompt, outputs: list[str]) -> list[str]:
    """Return the nodes that the outputs need, sources first: a topological sort, without recursion.

    Args:
        prompt: the workflow; node ids in its wires become texts, in place.
        outputs: ids of output nodes.

    Raises:
        WorkflowError: a wire that starts at nothing, or wires that go round in a circle.
    """
    order: list[str] = []
    done: set[str] = set()
    active: set[str] = set()
    for output in outputs:
        stack = [(output, False)]
        while stack:
            node_id, is_finished = stack.pop()
            if is_finished:
                active.discard(node_id)
                done.add(node_id)
                order.append(node_id)
                continue
            if node_id in done:
                continue
            active.add(node_id)
            stack.append((node_id, True))
            for name, value in reversed(prompt.nodes[node_id]["inputs"].items()):
                if not is_wire(value):
                    continue
                source = _wire_source(prompt, node_id, name, value)
                if source in active:
                    raise WorkflowError(
                        f"The wires go round in a circle: {prompt.title(source)} needs the result of "
                        f"{prompt.title(node_id)}, which needs its own."
                    )
                if source not in done:
                    stack.append((source, False))
    return order


def _wire_source(prompt: Prompt, node_id: str, name: str, value: list) -> str:
    """Return the id of the node that a wire starts at."""
    well_formed = len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], int)
    if not well_formed or isinstance(value[1], bool):
        raise WorkflowError(
            f"{prompt.title(node_id)}: the input {name!r} is {str(value)[:60]}, not a wire ([node id, output])."
        )
    source = str(value[0])
    if source not in prompt.nodes:
        raise WorkflowError(f"{prompt.title(node_id)}: the wire at {name!r} starts at #{source}, which is missing.")
    value[0] = source
    return source


class _Checks:
    """The checks of one node."""

    def __init__(self, prompt: Prompt, node_id: str, nodes: dict[str, type], info: dict[str, dict]) -> None:
        self.prompt, self.info = prompt, info
        self.node = prompt.nodes[node_id]
        self.node_class = nodes[self.node["class_type"]]
        self.title = prompt.title(node_id)
        self.specs = {name: spec for name, *spec in input_specs(info[self.node["class_type"]])}
        # A node that checks an input itself takes over its range and its list, as in ComfyUI.
        self.own, self.all_own = _own_checks(self.node_class)

    def problems(self) -> list[str]:
        """Return one sentence for each mistake."""
        inputs = self.node["inputs"]
        mistakes = [
            f"{self.title}: the required input {name!r} is not connected and has no value."
            for name, (group, _, _) in self.specs.items()
            if group == "required" and name not in inputs
        ]
        for name, value in list(inputs.items()):
            if name not in self.specs:
                if is_wire(value):
                    mistakes.append(
                        f"{self.title}: it has no input {name!r}; it takes {', '.join(self.specs) or 'none'}."
                    )
                else:
                    log.warning("%s: the value of %r is ignored, there is no such input.", self.title, name)
                    del inputs[name]
                continue
            mistake = self._check_wire(name, value) if is_wire(value) else self._check_constant(name, value)
            if mistake:
                mistakes.append(f"{self.title}: {mistake}")
        return mistakes or self._ask_node()

    def _check_wire(self, name: str, value: list) -> str | None:
        """Return what is wrong with a wire's output or type, None for nothing."""
        source = self.prompt.nodes[value[0]]
        offered = self.info[source["class_type"]]["output"]
        if not 0 <= value[1] < len(offered):
            return (
                f"the wire at {name!r} starts at output {value[1]} (counted from 0) of "
                f"{self.prompt.title(value[0])}, which has {len(offered)}."
            )
        _, kind, _ = self.specs[name]
        if not connectable(offered[value[1]], kind):
            return (
                f"the input {name!r} takes {_type_name(kind)}, but is wired to {_type_name(offered[value[1]])} "
                f"of {self.prompt.title(value[0])}."
            )
        return None

    def _check_constant(self, name: str, value: Any) -> str | None:
        """Bring a constant to its input's type, in place; return what is wrong with it, None for nothing."""
        _, kind, options = self.specs[name]
        value = unwrapped(value)
        if isinstance(value, str) and not is_text(value):
            return f"the input {name!r} holds half a character (a surrogate without its pair): type it anew."
        if not has_widget(kind, {**options, "forceInput": None}) and "," not in str(kind) and kind != "*":
            return f"the input {name!r} needs a wire of the type {_type_name(kind)}, not the value {str(value)[:60]!r}."
        convert = CONVERT.get(options.get("widgetType") or kind) if isinstance(kind, str) else None
        if convert is not None:
            try:
                value = convert(value)
            except (TypeError, ValueError, OverflowError):
                return f"the input {name!r} takes {_type_name(kind)}, not {str(value)[:60]!r}."
        self.node["inputs"][name] = {"__value__": value} if isinstance(value, list) else value
        if name in self.own or self.all_own:
            return None
        if isinstance(value, float) and not math.isfinite(value):
            return f"the input {name!r} takes a finite number, not {value}."
        return _range_mistake(name, value, kind, options)

    def _ask_node(self) -> list[str]:
        """Let the node check its inputs itself, if it does."""
        if not self.own and not self.all_own:
            return []
        constants = {name: None if is_wire(value) else unwrapped(value) for name, value in self.node["inputs"].items()}
        arguments = {name: value for name, value in constants.items() if self.all_own or name in self.own}
        if "input_types" in self.own:
            wires = {name: value for name, value in self.node["inputs"].items() if is_wire(value)}
            arguments["input_types"] = {
                name: self.info[self.prompt.nodes[source]["class_type"]]["output"][slot]
                for name, (source, slot) in wires.items()
            }
        answer = self.node_class.validate_inputs(**arguments)
        return [] if answer is True else [f"{self.title}: {answer or 'the inputs are refused'}"]


def _own_checks(node_class: type) -> tuple[set[str], bool]:
    """Return the inputs that the node checks itself, and whether those are all."""
    if not node_class.overrides("validate_inputs"):
        return set(), False
    arguments = inspect.getfullargspec(node_class.validate_inputs)
    return set(arguments.args[1:] + arguments.kwonlyargs), arguments.varkw is not None


def _range_mistake(name: str, value: Any, kind: Any, options: dict) -> str | None:
    """Return what is wrong with a value outside of its range or list, None for nothing."""
    low, high = options.get("min"), options.get("max")
    number = is_number(value)
    if number and low is not None and value < low:
        return f"the input {name!r} is {value}, but must be at least {low}."
    if number and high is not None and value > high:
        return f"the input {name!r} is {value}, but must be at most {high}."
    listed = choices(kind, options)
    if listed is not None and value not in listed:
        names = ", ".join(repr(choice) for choice in listed[:12]) + (", ..." if len(listed) > 12 else "")
        names = names or "there are none yet"
        return f"the input {name!r} is {str(value)[:60]!r}, which is not among the choices: {names}."
    return None


def connectable(output: Any, input: Any) -> bool:
    """Return True when a wire from an output of one type fits an input of another; a type may be several, with commas.

    Args:
        output, input: a type's name, "*" for any, or the list of choices of an old-style combo.
    """
    if output == "*" or input == "*" or output == input:
        return True
    if isinstance(output, list) or isinstance(input, list):  # a list of choices fits the very same list only
        return False
    return bool({name.strip() for name in output.split(",")} & {name.strip() for name in input.split(",")})


def _type_name(kind: Any) -> str:
    return "COMBO" if isinstance(kind, list) else str(kind)
