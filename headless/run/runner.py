"""Runs a workflow without ComfyUI: every node once, sources first, under inference mode, as ComfyUI would.

A `Runner` keeps results between runs: a node whose inputs, and whose sources' inputs, are as before does not run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ...models.errors import InputError
from ..comfy_api.io import ComfyNode, Hidden
from ..host.headless_host import HeadlessHost
from ..workflow.document import Prompt, to_prompt
from ..workflow.validate import Plan, check, is_wire, unwrapped
from ..workflow.widgets import input_specs
from .catalog import describe, installed_nodes
from .execution import Blocked, execute
from .signature import Signatures


class NodeFailure(InputError):  # noqa: N818  (the failure is of the node, the error is its cause)
    """A node stopped with an error; `cause` is what it raised."""

    def __init__(self, title: str, cause: BaseException) -> None:
        reason = " ".join(str(cause).split())
        kind = "" if isinstance(cause, InputError) else type(cause).__name__
        super().__init__(f"{title}: {': '.join(part for part in (kind, reason) if part)}")
        self.title, self.cause = title, cause


@dataclass
class Result:
    """What a run left behind."""

    ran: list[str]  # ids of the nodes that ran, in order; the others were unchanged
    values: dict[str, list[list]]  # node id -> per output, the list of its values
    ui: dict[str, dict]  # node id -> what it showed: {"images": [...]}, {"text": [...]}


@dataclass
class _Kept:
    values: list[list]
    ui: dict


class Runner:
    """Runs prompts on a headless host.

    Args:
        side: folders, device and progress bar.
        nodes: node classes by class type; default: those of the pack and the core nodes offered headless.
    """

    def __init__(self, side: HeadlessHost, nodes: dict[str, type[ComfyNode]] | None = None) -> None:
        self.side = side
        self.nodes = installed_nodes() if nodes is None else nodes
        self.kept: dict[str, _Kept] = {}  # by signature

    def prepare(self, document: dict) -> Prompt:
        """Turn a workflow document into a prompt, with the nodes known here.

        Raises:
            WorkflowError: damaged, or with a node that is not known.
        """
        return to_prompt(document, describe(self.nodes))

    def run(self, prompt: Prompt, before: Callable[[str], None] | None = None) -> Result:
        """Check a prompt, and run what its output nodes need and what has changed since the last run.

        Args:
            prompt: the workflow; its constants are brought to their types in place.
            before: called with the id of each node before it runs.

        Raises:
            WorkflowError: something is wrong with the workflow; no node has run.
            NodeFailure: a node raised; what other nodes made is kept for the next run.
            StoppedError: stopped on request.
        """
        used = {node["class_type"] for node in prompt.nodes.values()} & set(self.nodes)
        info = describe({class_type: self.nodes[class_type] for class_type in used})
        plan = check(prompt, self.nodes, info)
        with torch.inference_mode():
            run = _Run(self, prompt, info, plan, before)
            try:
                for output in plan.outputs:
                    run.finish(output)
            finally:
                self.side.settings.bar.clear()
        current = {run.signatures[node_id] for node_id in plan.order}
        self.kept = {signature: kept for signature, kept in self.kept.items() if signature in current}
        values = {node_id: kept.values for node_id, kept in run.kept.items()}
        return Result(run.ran, values, {node_id: kept.ui for node_id, kept in run.kept.items() if kept.ui})


@dataclass
class _Run:
    """One pass over one prompt."""

    runner: Runner
    prompt: Prompt
    info: dict[str, dict]
    plan: Plan
    before: Callable[[str], None] | None
    kept: dict[str, _Kept] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    asked: dict[str, set[str]] = field(default_factory=dict)  # node id -> lazy inputs it asked for

    def __post_init__(self) -> None:
        self.signatures = Signatures(self.prompt, self.runner.nodes)
        self.due = sum(self.signatures[node_id] not in self.runner.kept for node_id in self.plan.order)

    def finish(self, output: str) -> None:
        """Have the node's result, running first what it needs; without recursion, since chains may be long."""
        stack = [output]
        while stack:
            node_id = stack[-1]
            reusable = self.runner.kept.get(self.signatures[node_id])
            if node_id in self.kept or reusable is not None:
                self.kept.setdefault(node_id, reusable)
                stack.pop()
                continue
            missing = [source for source in self._needed(node_id) if source not in self.kept]
            if missing:
                stack.extend(reversed(missing))
            elif not self._asks_more(node_id):
                # Kept at once: a later failure does not cost this result.
                self.runner.kept[self.signatures[node_id]] = self.kept[node_id] = self._execute(node_id)
                stack.pop()

    def _waived(self, node_id: str) -> set[str]:
        """Return the wired lazy inputs that the node has not asked for (so far)."""
        node = self.prompt.nodes[node_id]
        lazy = {name for name, _, _, options in input_specs(self.info[node["class_type"]]) if options.get("lazy")}
        return {name for name in lazy if is_wire(node["inputs"].get(name))} - self.asked.get(node_id, set())

    def _needed(self, node_id: str) -> list[str]:
        waived = self._waived(node_id)
        inputs = self.prompt.nodes[node_id]["inputs"]
        return [value[0] for name, value in inputs.items() if is_wire(value) and name not in waived]

    def _asks_more(self, node_id: str) -> bool:
        """Let a node with lazy inputs say which it wants, given the others; True when that is one not yet there."""
        waived = self._waived(node_id)
        if not waived:
            return False
        node = self.runner.nodes[self.prompt.nodes[node_id]["class_type"]]
        known = {name: values[0] if values else None for name, values in self._inputs(node_id).items()}
        wants = set(node.check_lazy_status(**known) or []) & waived
        self.asked.setdefault(node_id, set()).update(wants)
        return bool(wants)

    def _inputs(self, node_id: str) -> dict[str, list]:
        """Return each input's list of values: one for a constant, as many as its source gave for a wire."""
        waived = self._waived(node_id)
        values = {}
        for name, value in self.prompt.nodes[node_id]["inputs"].items():
            if not is_wire(value):
                values[name] = [unwrapped(value)]
            elif name in waived:
                values[name] = [None]
            else:
                given = self.kept[value[0]].values
                values[name] = given[value[1]] if value[1] < len(given) else [Blocked(None)]
        return values

    def _execute(self, node_id: str) -> _Kept:
        title, side = self.prompt.title(node_id), self.runner.side
        side.settings.bar.start(title, len(self.ran) + 1, self.due)
        side.check_interrupt()
        if self.before:
            self.before(node_id)
        node = self.runner.nodes[self.prompt.nodes[node_id]["class_type"]]
        schema = node.GET_SCHEMA()
        offered = {Hidden.unique_id: node_id, Hidden.prompt: self.prompt.nodes}
        if self.prompt.workflow is not None:
            offered[Hidden.extra_pnginfo] = {"workflow": self.prompt.workflow}
        hidden = {asked.name: offered.get(asked) for asked in schema.hidden or []}
        try:
            values, ui = execute(node, schema, self._inputs(node_id), hidden)
        except side.stopped:
            raise
        except Exception as error:
            raise NodeFailure(title, error) from error
        self.ran.append(node_id)
        return _Kept(values, ui)
