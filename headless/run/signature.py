"""What decides whether a node must run again: its type, constants, own fingerprint, and the same of its sources."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import logging
from typing import Any

from ..comfy_api.io import Hidden
from ..workflow.document import Prompt
from ..workflow.validate import is_wire, unwrapped

log = logging.getLogger(__name__)
_unique = itertools.count()


class Signatures:
    """The signatures of a prompt's nodes, made when asked for: ``signatures[node_id]``."""

    def __init__(self, prompt: Prompt, nodes: dict[str, type]) -> None:
        self.prompt, self.nodes = prompt, nodes
        self._made: dict[str, str] = {}

    def __getitem__(self, node_id: str) -> str:
        stack = [node_id]
        while stack:  # without recursion, since chains may be long
            current = stack[-1]
            inputs = self.prompt.nodes[current]["inputs"]
            waiting = [value[0] for value in inputs.values() if is_wire(value) and value[0] not in self._made]
            if waiting and current not in self._made:
                stack.extend(waiting)
                continue
            if current not in self._made:
                self._made[current] = self._make(current)
            stack.pop()
        return self._made[node_id]

    def _make(self, node_id: str) -> str:
        node = self.prompt.nodes[node_id]
        node_class = self.nodes[node["class_type"]]
        schema = node_class.GET_SCHEMA()
        own_id = node_id if schema.not_idempotent or Hidden.unique_id in (schema.hidden or []) else None
        inputs = {
            name: ["wire", self._made[value[0]], value[1]] if is_wire(value) else ["constant", value]
            for name, value in sorted(node["inputs"].items())
        }
        parts = [node["class_type"], own_id, self._fingerprint(node_class, node), inputs]
        return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()

    def _fingerprint(self, node_class: type, node: dict) -> Any:
        if not node_class.overrides("fingerprint_inputs"):
            return None
        inputs = {name: None if is_wire(value) else unwrapped(value) for name, value in node["inputs"].items()}
        arguments = inspect.signature(node_class.fingerprint_inputs).parameters
        if not any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
            inputs = {name: value for name, value in inputs.items() if name in arguments}
        try:
            made = node_class.fingerprint_inputs(**inputs)
        except Exception as error:  # as in ComfyUI: then the node runs, and says itself what is wrong
            log.warning("%s: its fingerprint failed (%s), so it runs.", node["class_type"], error)
            return next(_unique)
        return next(_unique) if made != made else made  # not equal to itself: NaN, "always run"
