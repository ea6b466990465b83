"""Runner: executes a workflow without ComfyUI, every node once, sources first, under inference mode, as ComfyUI does.

A `Runner` caches results between runs: a node whose inputs, and whose sources' inputs, are as before does not run
again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ...models.errors import InputError
from ..comfy_api.io import ComfyNode, Hidden
from ..host.headless_host import HeadlessHost
from ..workflow.document import Prompt, to_prompt
from ..workflow.widgets import input_specs
from .catalog import describe, installed_nodes
from .execution import Blocked, execute
from .signature import Signatures
from .validate import Plan, check, is_wire, unwrapped


class NodeFailure(InputError):  # noqa: N818  (the failure is of the node, the error is its cause)
    """A node stopped with an error; `cause` is what it raised."""

    def __init__(self, title: str, cause: BaseException) -> None:
        reason = " ".join(str(cause).split())
        kind = "" if isinstance(cause, InputError) else type(cause).__name__
        super().__init__(f"{title}: {': '.join(text for text in (kind, reason) if text)}")
        self.title, self.cause = title, cause


@dataclass
class Result:
    """The results of a run."""

    ran: list[str]  # ids of the nodes that ran, in order; the others were unchanged
    values: dict[str, list[list]]  # node id -> per output, the list of its values
    ui: dict[str, dict]  # node id -> what it showed: {"images": [...]}, {"text": [...]}


@dataclass
class CachedResult:
    """The result of one node."""

    values: list[list]  # per output, the list of its values
    ui: dict


class Runner:
    """Runs prompts on a headless host.

    Args:
        host: folders, device and progress bar.
        nodes: node classes by class type; default: those of the pack and the core nodes offered headless.
    """

    def __init__(self, host: HeadlessHost, nodes: dict[str, type[ComfyNode]] | None = None) -> None:
        self.host = host
        self.nodes = installed_nodes() if nodes is None else nodes
        self.cache: dict[str, CachedResult] = {}  # by signature

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
            NodeFailure: a node raised; what other nodes made is cached for the next run.
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
                self.host.settings.bar.clear()
        current = {run.signatures[node_id] for node_id in plan.order}
        self.cache = {signature: result for signature, result in self.cache.items() if signature in current}
        values = {node_id: result.values for node_id, result in run.results.items()}
        return Result(run.ran, values, {node_id: result.ui for node_id, result in run.results.items() if result.ui})


@dataclass
class _Run:
    """One pass over one prompt."""

    runner: Runner
    prompt: Prompt
    info: dict[str, dict]
    plan: Plan
    before: Callable[[str], None] | None
    results: dict[str, CachedResult] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    requested: dict[str, set[str]] = field(default_factory=dict)  # node id -> lazy inputs it asked for

    def __post_init__(self) -> None:
        self.signatures = Signatures(self.prompt, self.runner.nodes)
        self.due = sum(self.signatures[node_id] not in self.runner.cache for node_id in self.plan.order)

    def finish(self, output: str) -> None:
        """Have the node's result, running first what it needs; without recursion, since chains may be long."""
        stack = [output]
        while stack:
            node_id = stack[-1]
            cached = self.runner.cache.get(self.signatures[node_id])
            if node_id in self.results or cached is not None:
                self.results.setdefault(node_id, cached)
                stack.pop()
                continue
            missing = [source for source in self._needed(node_id) if source not in self.results]
            if missing:
                stack.extend(reversed(missing))
            elif not self._requests_more(node_id):
                # Cached at once: a later failure does not cost this result.
                self.runner.cache[self.signatures[node_id]] = self.results[node_id] = self._execute(node_id)
                stack.pop()

    def _waived(self, node_id: str) -> set[str]:
        """Return the wired lazy inputs that the node has not asked for (so far)."""
        node = self.prompt.nodes[node_id]
        lazy = {name for name, _, _, options in input_specs(self.info[node["class_type"]]) if options.get("lazy")}
        return {name for name in lazy if is_wire(node["inputs"].get(name))} - self.requested.get(node_id, set())

    def _needed(self, node_id: str) -> list[str]:
        """Return the sources of the node's wires, without those it has waived."""
        waived = self._waived(node_id)
        inputs = self.prompt.nodes[node_id]["inputs"]
        return [value[0] for name, value in inputs.items() if is_wire(value) and name not in waived]

    def _requests_more(self, node_id: str) -> bool:
        """Let a node with lazy inputs say which it wants, given the others; True when one of those has not run yet."""
        waived = self._waived(node_id)
        if not waived:
            return False
        node = self.runner.nodes[self.prompt.nodes[node_id]["class_type"]]
        known = {name: values[0] if values else None for name, values in self._inputs(node_id).items()}
        requests = set(node.check_lazy_status(**known) or []) & waived
        self.requested.setdefault(node_id, set()).update(requests)
        return bool(requests)

    def _inputs(self, node_id: str) -> dict[str, list]:
        """Return each input's list of values: one for a constant, as many as its source has for a wire."""
        waived = self._waived(node_id)
        values = {}
        for name, value in self.prompt.nodes[node_id]["inputs"].items():
            if not is_wire(value):
                values[name] = [unwrapped(value)]
            elif name in waived:
                values[name] = [None]
            else:
                outputs = self.results[value[0]].values
                values[name] = outputs[value[1]] if value[1] < len(outputs) else [Blocked(None)]
        return values

    def _execute(self, node_id: str) -> CachedResult:
        """Run one node, with the progress bar under its title."""
        title, host = self.prompt.title(node_id), self.runner.host
        host.settings.bar.start(title, len(self.ran) + 1, self.due)
        host.check_interrupt()
        if self.before:
            self.before(node_id)
        node = self.runner.nodes[self.prompt.nodes[node_id]["class_type"]]
        schema = node.GET_SCHEMA()
        try:
            values, ui = execute(node, schema, self._inputs(node_id), self._hidden(node_id, schema.hidden or []))
        except host.stopped:
            raise
        except Exception as error:
            raise NodeFailure(title, error) from error
        self.ran.append(node_id)
        return CachedResult(values, ui)

    def _hidden(self, node_id: str, names: list[Hidden]) -> dict[str, object]:
        """Return the hidden values that a node asks for, by name."""
        values: dict[Hidden, object] = {Hidden.unique_id: node_id, Hidden.prompt: self.prompt.nodes}
        if self.prompt.workflow is not None:
            values[Hidden.extra_pnginfo] = {"workflow": self.prompt.workflow}
        return {name.name: values.get(name) for name in names}
