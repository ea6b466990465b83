"""Signatures of nodes: type, constants, own fingerprint, and those of the sources; another one means to run again."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
from typing import Any

from ...models.printable import printable_logger
from ..comfy_api.io import Hidden
from ..workflow.document import Prompt
from .validate import is_wire, unwrapped

log = printable_logger(__name__)
_unique = itertools.count()


class Signatures:
    """The signatures of a prompt's nodes, computed when asked for: ``signatures[node_id]``."""

    def __init__(self, prompt: Prompt, nodes: dict[str, type]) -> None:
        self.prompt, self.nodes = prompt, nodes
        self._known: dict[str, str] = {}

    def __getitem__(self, node_id: str) -> str:
        stack = [node_id]
        while stack:  # without recursion, since chains may be long
            current = stack[-1]
            inputs = self.prompt.nodes[current]["inputs"]
            missing = [value[0] for value in inputs.values() if is_wire(value) and value[0] not in self._known]
            if missing and current not in self._known:
                stack.extend(missing)
                continue
            if current not in self._known:
                self._known[current] = self._compute(current)
            stack.pop()
        return self._known[node_id]

    def _compute(self, node_id: str) -> str:
        """Hash a node, whose sources' signatures are known."""
        node = self.prompt.nodes[node_id]
        node_class = self.nodes[node["class_type"]]
        schema = node_class.GET_SCHEMA()
        own_id = node_id if schema.not_idempotent or Hidden.unique_id in (schema.hidden or []) else None
        inputs = {
            name: ["wire", self._known[value[0]], value[1]] if is_wire(value) else ["constant", value]
            for name, value in sorted(node["inputs"].items())
        }
        identity = [node["class_type"], own_id, self._fingerprint(node_class, node), inputs]
        return hashlib.sha256(json.dumps(identity, default=repr).encode()).hexdigest()

    def _fingerprint(self, node_class: type, node: dict) -> Any:
        """Ask the node for its own fingerprint; a number of its own for one that must always run."""
        if not node_class.overrides("fingerprint_inputs"):
            return None
        inputs = {name: None if is_wire(value) else unwrapped(value) for name, value in node["inputs"].items()}
        arguments = inspect.signature(node_class.fingerprint_inputs).parameters
        if not any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
            inputs = {name: value for name, value in inputs.items() if name in arguments}
        try:
            fingerprint = node_class.fingerprint_inputs(**inputs)
        except Exception as error:  # as in ComfyUI: then the node runs, and says itself what is wrong
            log.warning("%s: its fingerprint failed (%s), so it runs.", node["class_type"], error)
            return next(_unique)
        return next(_unique) if fingerprint != fingerprint else fingerprint  # not equal to itself: NaN, "always run"
